//! Webhooks, and what is sent to them.

use super::*;
use crate::domain::{
    Delivery, DeliveryAttempt, DeliveryStatus, Disabled, DisabledReason, MessageId, Redelivery, Webhook,
    WebhookChange, WebhookId,
};

pub(super) fn webhook_of(kinds: &[EventKind]) -> Webhook {
    Webhook {
        id: WebhookId::generate(&SystemClock),
        url: "https://example.com/hook".into(),
        description: None,
        kinds: kinds.to_vec(),
        created_at: now(),
        secret_version: 1,
        rotated_at: None,
        disabled: None,
        failing_since: None,
    }
}

fn attempt(error: Option<&str>) -> DeliveryAttempt {
    DeliveryAttempt {
        at: now(),
        status: None,
        error: error.map(ToOwned::to_owned),
    }
}

impl Fixture {
    async fn webhook(&self, kinds: &[EventKind]) -> Webhook {
        let webhook = webhook_of(kinds);
        assert!(
            self.store
                .insert_webhook(self.tenant, &webhook, 9, &note())
                .await
                .unwrap()
        );
        webhook
    }

    /// What waits for a webhook, oldest first.
    async fn deliveries(&self, webhook: &Webhook) -> Vec<Delivery> {
        let mut found = self
            .store
            .list_deliveries(self.tenant, webhook.id, None, None, 99)
            .await
            .unwrap();
        found.reverse();
        found
    }
}

pub(in crate::store::conformance) async fn webhooks_are_kept_changed_and_removed_for_their_tenant(
    fixture: Fixture,
) {
    let (store, tenant) = (&*fixture.store, fixture.tenant);
    let other = super::tenant(store, "other").await;
    let first = fixture.webhook(&[EventKind::Done]).await;
    let second = fixture.webhook(&[EventKind::Done, EventKind::Error]).await;
    let third = webhook_of(&[EventKind::Done]);
    assert!(
        !store.insert_webhook(tenant, &third, 2, &note()).await.unwrap(),
        "as many as it may have"
    );
    assert!(store.insert_webhook(other, &third, 2, &note()).await.unwrap());
    let list = async |tenant, after| store.list_webhooks(tenant, after, 9).await.unwrap();
    assert_eq!(list(tenant, None).await, [first.clone(), second.clone()]);
    assert_eq!(list(tenant, Some(first.id)).await, std::slice::from_ref(&second));
    assert_eq!(store.find_webhook(other, first.id).await.unwrap(), None);
    let at = now();
    let change = WebhookChange {
        url: Some("https://example.com/other".into()),
        rotated_at: Some(at),
        disabled: Some(Some(Disabled {
            at,
            reason: DisabledReason::Asked,
        })),
        ..WebhookChange::default()
    };
    assert_eq!(
        store
            .update_webhook(other, first.id, &change, None)
            .await
            .unwrap(),
        None
    );
    let changed = store
        .update_webhook(tenant, first.id, &change, Some(&note()))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((changed.secret_version, changed.rotated_at), (2, Some(at)));
    assert_eq!(store.find_webhook(tenant, first.id).await.unwrap(), Some(changed));
    assert!(!store.remove_webhook(other, first.id, &note()).await.unwrap());
    assert!(store.remove_webhook(tenant, first.id, &note()).await.unwrap());
    assert_eq!(list(tenant, None).await, [second]);
}

pub(in crate::store::conformance) async fn each_event_that_a_webhook_wants_is_to_be_delivered_once(
    fixture: Fixture,
) {
    let (store, tenant) = (&*fixture.store, fixture.tenant);
    let webhook = fixture
        .webhook(&[EventKind::Message, EventKind::TurnStarted])
        .await;
    let off = fixture.webhook(&[EventKind::Message]).await;
    let disabled = WebhookChange {
        disabled: Some(Some(Disabled {
            at: now(),
            reason: DisabledReason::Failing,
        })),
        ..WebhookChange::default()
    };
    store
        .update_webhook(tenant, off.id, &disabled, None)
        .await
        .unwrap();
    let other = super::tenant(store, "other").await;
    let foreign = webhook_of(&[EventKind::Message]);
    store.insert_webhook(other, &foreign, 9, &note()).await.unwrap();
    let (session, epoch) = fixture.owned_session().await;
    let turn = turn_of(&session);
    let begun = [
        event(epoch, 1, said("x")),
        event(epoch, 2, EventBody::TextDelta { text: "x".into() }),
    ];
    store.begin_turn(tenant, epoch, &turn, &begun).await.unwrap();
    let more = [event(epoch, 3, EventBody::TurnStarted {})];
    store
        .append_events(tenant, session.id, epoch, &more)
        .await
        .unwrap();
    let ended = [event(epoch, 4, said("y"))];
    store
        .finish_turn(tenant, epoch, &end_of(&turn), &ended)
        .await
        .unwrap();
    let stale = [event(epoch, 9, said("z"))];
    fixture.acquire(session.id).await;
    store
        .append_events(tenant, session.id, epoch, &stale)
        .await
        .unwrap_err();
    let deliveries = fixture.deliveries(&webhook).await;
    let told: Vec<_> = deliveries
        .iter()
        .map(|delivery| (delivery.event, delivery.kind))
        .collect();
    assert_eq!(
        told,
        [
            (begun[0].id, EventKind::Message),
            (more[0].id, EventKind::TurnStarted),
            (ended[0].id, EventKind::Message)
        ]
    );
    for delivery in &deliveries {
        assert_eq!((delivery.status, delivery.attempts), (DeliveryStatus::Pending, 0));
        assert_eq!((delivery.session, delivery.tenant), (session.id, tenant));
    }
    assert_eq!(fixture.deliveries(&off).await, []);
    assert_eq!(
        store
            .list_deliveries(other, foreign.id, None, None, 9)
            .await
            .unwrap(),
        []
    );
    assert_eq!(
        store
            .list_deliveries(other, webhook.id, None, None, 9)
            .await
            .unwrap(),
        []
    );
    assert_eq!(store.all_deliveries(tenant, 0, 9).await.unwrap(), deliveries);
    let first = deliveries[0].number;
    assert_eq!(
        store.all_deliveries(tenant, first, 1).await.unwrap(),
        deliveries[1..2]
    );
    let later = now() + TimeDelta::hours(1);
    assert!(store.remove_session(tenant, session.id, later).await.unwrap());
    assert_eq!(
        fixture.deliveries(&webhook).await,
        [],
        "they go with their session"
    );
}

pub(in crate::store::conformance) async fn deliveries_are_claimed_settled_and_made_again(fixture: Fixture) {
    let (store, tenant) = (&*fixture.store, fixture.tenant);
    let webhook = fixture.webhook(&[EventKind::Message]).await;
    let (session, epoch) = fixture.owned_session().await;
    let events: Vec<_> = (1..=4)
        .map(|sequence| event(epoch, sequence, said("x")))
        .collect();
    store
        .append_events(tenant, session.id, epoch, &events)
        .await
        .unwrap();
    let soon = now() + TimeDelta::seconds(1);
    let until = soon + TimeDelta::minutes(1);
    let due = async |at| {
        let due = store.due_webhooks(at, 9).await.unwrap();
        due.iter()
            .any(|(owner, found)| (*owner, found.id) == (tenant, webhook.id))
    };
    assert!(due(soon).await);
    let claimed = store.claim_deliveries(webhook.id, soon, until, 3).await.unwrap();
    assert_eq!(claimed.len(), 3);
    assert!(
        claimed
            .iter()
            .all(|delivery| delivery.attempts == 1 && delivery.due_at == Some(until))
    );
    let rest = store.claim_deliveries(webhook.id, soon, until, 3).await.unwrap();
    assert_eq!(rest.len(), 1, "what is claimed is not claimed again");
    assert!(!due(soon).await && due(until).await, "until its time is up");
    let mut all = [claimed, rest].concat();
    all.sort_by_key(|delivery| delivery.event);
    let settle = async |delivery: &Delivery, status, due_at| {
        let last = attempt((status != DeliveryStatus::Delivered).then_some("no answer"));
        store
            .settle_delivery(delivery, status, due_at, &last)
            .await
            .unwrap();
    };
    settle(&all[0], DeliveryStatus::Delivered, None).await;
    settle(&all[0], DeliveryStatus::Pending, Some(soon)).await;
    settle(&all[1], DeliveryStatus::Pending, Some(until)).await;
    settle(&all[2], DeliveryStatus::Dead, None).await;
    settle(&all[3], DeliveryStatus::Dead, None).await;
    let of = async |status| {
        let found = store
            .list_deliveries(tenant, webhook.id, Some(status), None, 9)
            .await
            .unwrap();
        found.iter().map(|delivery| delivery.event).collect::<Vec<_>>()
    };
    assert_eq!(of(DeliveryStatus::Delivered).await, [events[0].id]);
    assert_eq!(of(DeliveryStatus::Pending).await, [events[1].id]);
    assert_eq!(of(DeliveryStatus::Dead).await, [events[3].id, events[2].id]);
    let newest = store
        .list_deliveries(tenant, webhook.id, None, None, 1)
        .await
        .unwrap();
    let page = store
        .list_deliveries(tenant, webhook.id, None, Some(newest[0].number), 9)
        .await
        .unwrap();
    assert_eq!(page.len(), 3);
    let message = |event: &Event| MessageId {
        session: session.id,
        event: event.id,
    };
    let found = store
        .find_delivery(tenant, webhook.id, message(&events[2]))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.last.unwrap().error.as_deref(), Some("no answer"));
    let other = super::tenant(store, "other").await;
    assert_eq!(
        store
            .find_delivery(other, webhook.id, message(&events[2]))
            .await
            .unwrap(),
        None
    );
    let again = async |tenant, which| store.redeliver(tenant, webhook.id, which, now()).await.unwrap();
    assert_eq!(again(other, Redelivery::Dead).await, 0);
    assert_eq!(again(tenant, Redelivery::Dead).await, 2);
    assert_eq!(again(tenant, Redelivery::One(message(&events[0]))).await, 1);
    assert_eq!(of(DeliveryStatus::Pending).await.len(), 4);
}

pub(in crate::store::conformance) async fn what_happened_before_is_delivered_from_a_cursor_on(
    fixture: Fixture,
) {
    let (store, tenant) = (&*fixture.store, fixture.tenant);
    let webhook = fixture.webhook(&[EventKind::Message]).await;
    let (session, epoch) = fixture.owned_session().await;
    let events: Vec<_> = (1..=4)
        .map(|sequence| event(epoch, sequence, said("x")))
        .collect();
    store
        .append_events(tenant, session.id, epoch, &events)
        .await
        .unwrap();
    let other = super::tenant(store, "other").await;
    let settle = async |delivery: &Delivery| {
        store
            .settle_delivery(delivery, DeliveryStatus::Delivered, None, &attempt(None))
            .await
            .unwrap();
    };
    for delivery in &fixture.deliveries(&webhook).await {
        settle(delivery).await;
    }
    let pending = async || {
        let found = fixture.deliveries(&webhook).await;
        found
            .iter()
            .filter(|delivery| delivery.status == DeliveryStatus::Pending)
            .count()
    };
    let replay = async |after, limit| {
        store
            .replay(tenant, &webhook, session.id, after, now(), limit)
            .await
            .unwrap()
    };
    assert_eq!(replay(EventId::START, 3).await, (3, Some(events[2].id)));
    assert_eq!(replay(events[2].id, 3).await, (1, Some(events[3].id)));
    assert_eq!(replay(events[3].id, 3).await, (0, None));
    assert_eq!(
        store
            .replay(other, &webhook, session.id, EventId::START, now(), 9)
            .await
            .unwrap(),
        (0, None)
    );
    assert_eq!(pending().await, 4, "each once");
    let later = now() + TimeDelta::hours(1);
    assert_eq!(
        store.forget_deliveries(later, 9).await.unwrap(),
        0,
        "what is pending stays"
    );
    settle(&fixture.deliveries(&webhook).await[0]).await;
    assert_eq!(store.forget_deliveries(later, 9).await.unwrap(), 1);
}

/// Every statement about webhooks.
pub(super) async fn tour(fixture: &Fixture, session: SessionId) {
    let (store, tenant) = (&*fixture.store, fixture.tenant);
    let webhook = fixture.webhook(&[EventKind::Message]).await;
    store.list_webhooks(tenant, Some(webhook.id), 9).await.unwrap();
    store.find_webhook(tenant, webhook.id).await.unwrap();
    store
        .update_webhook(tenant, webhook.id, &WebhookChange::default(), None)
        .await
        .unwrap();
    store.due_webhooks(now(), 9).await.unwrap();
    store
        .replay(tenant, &webhook, session, EventId::START, now(), 9)
        .await
        .unwrap();
    let claimed = store.claim_deliveries(webhook.id, now(), now(), 9).await.unwrap();
    let message = MessageId {
        session,
        event: EventId::START,
    };
    for delivery in &claimed {
        store
            .settle_delivery(delivery, DeliveryStatus::Dead, None, &attempt(None))
            .await
            .unwrap();
    }
    for status in [None, Some(DeliveryStatus::Dead)] {
        for before in [None, Some(9)] {
            store
                .list_deliveries(tenant, webhook.id, status, before, 9)
                .await
                .unwrap();
        }
    }
    store.find_delivery(tenant, webhook.id, message).await.unwrap();
    for which in [Redelivery::Dead, Redelivery::One(message)] {
        store.redeliver(tenant, webhook.id, which, now()).await.unwrap();
    }
    store.all_deliveries(tenant, 0, 9).await.unwrap();
    store.forget_deliveries(now(), 9).await.unwrap();
    store.remove_webhook(tenant, webhook.id, &note()).await.unwrap();
}
