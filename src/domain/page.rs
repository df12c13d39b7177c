//! Pages of a list.

/// One page of a list and, where there is more, the key after which the next one starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T, K> {
    /// The entries, in the list's order.
    pub items: Vec<T>,
    /// The last entry's key if more entries follow.
    pub next: Option<K>,
}

impl<T, K> Page<T, K> {
    /// The page of the first `limit` of `items`, given up to `limit + 1` of them: the one too many only tells that
    /// the list goes on.
    #[must_use]
    pub fn cut(mut items: Vec<T>, limit: usize, key: impl Fn(&T) -> K) -> Self {
        let more = items.len() > limit;
        items.truncate(limit);
        let next = if more { items.last().map(key) } else { None };
        Self { items, next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_last_page_has_no_next() {
        assert_eq!(
            Page::cut(vec![1, 2], 2, |n| *n),
            Page {
                items: vec![1, 2],
                next: None
            }
        );
    }

    #[test]
    fn the_entry_too_many_is_dropped_and_the_last_kept_is_the_key() {
        assert_eq!(
            Page::cut(vec![1, 2, 3], 2, |n| *n),
            Page {
                items: vec![1, 2],
                next: Some(2)
            }
        );
    }
}
