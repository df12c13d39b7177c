//! Which page of a list, where a list has no filter of its own.

use std::str::FromStr;

use serde::Deserialize;
use utoipa::IntoParams;
use validator::Validate;

use super::rules::{page_limit, within_page_limit};
use crate::api::ApiLimits;
use crate::api::input::CheckRequest;
use crate::api::page::{CursorKey, CursorScope, page_size};
use crate::api::problem::Problem;

/// Which page of a list.
#[derive(Debug, Deserialize, Validate, IntoParams)]
#[serde(deny_unknown_fields)]
#[validate(context = ApiLimits)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct PageQuery {
    /// How many entries at most.
    #[serde(default, deserialize_with = "page_limit")]
    #[validate(custom(function = "within_page_limit", use_context))]
    #[param(minimum = 1, example = 50)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    #[param(example = "pS9kQ0m1xV3bT7yWn2rLfDE3")]
    cursor: Option<String>,
}

impl CheckRequest for PageQuery {}

impl PageQuery {
    /// The key of the last entry before the page; `None` for the first page.
    pub(super) fn key<K: FromStr>(
        &self,
        cursors: &CursorKey,
        scope: CursorScope<'_>,
    ) -> Result<Option<K>, Problem> {
        let cursor = self.cursor.as_deref();
        cursor.map(|cursor| cursors.read(scope, cursor)).transpose()
    }

    /// How many entries the page has at most.
    pub(super) fn size(&self, limits: &ApiLimits) -> u32 {
        page_size(self.limit, limits)
    }
}
