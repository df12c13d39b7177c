//! Instances that share a store: only a server has them.

use super::*;
use crate::domain::{Claim, Instance, InstanceId, SessionStanding};
use crate::store::sql::instances::{Instances, Notice};
use crate::store::{SessionStore as _, TurnStore as _};

const TTL: Duration = Duration::from_mins(10);

fn instance(name: &str) -> Instance {
    Instance {
        id: InstanceId::generate(&SystemClock),
        name: name.parse().unwrap(),
        url: format!("http://{name}"),
        joined_at: now(),
    }
}

async fn join(instances: &Instances, name: &str) -> InstanceId {
    let instance = instance(name);
    instances.join(&instance, TTL).await.unwrap();
    instance.id
}

async fn dies(store: &PostgresStore, id: InstanceId) {
    sqlx::query("UPDATE instances SET alive_until = now() - interval '1 second' WHERE id = $1")
        .bind(id.as_uuid())
        .execute(store.pool_for_tests())
        .await
        .unwrap();
}

/// Runs every statement of instances once.
pub(super) async fn tour(store: &Arc<PostgresStore>, tenant: TenantId) {
    let instances = store.instances();
    let (one, two) = (instance("one"), instance("two"));
    for instance in [&one, &two] {
        instances.join(instance, TTL).await.unwrap();
        instances.beat(instance.id, TTL).await.unwrap().unwrap();
        assert!(!instances.is_superseded(instance).await.unwrap());
    }
    let session = session_of(tenant, "alice");
    store.insert_session(tenant, &session).await.unwrap();
    instances.claim(tenant, session.id, one.id).await.unwrap();
    instances.claim(tenant, session.id, two.id).await.unwrap();
    instances.holder(tenant, session.id).await.unwrap().unwrap();
    instances.standing(tenant, &[session.id]).await.unwrap();
    instances.abandoned(10).await.unwrap();
    instances.release(session.id, two.id).await.unwrap();
    instances.tell_gone(tenant, session.id).await.unwrap();
    instances.claim(tenant, session.id, two.id).await.unwrap();
    dies(store, two.id).await;
    assert_eq!(instances.bury().await.unwrap(), 1);
    instances.leave(one.id).await.unwrap();
}

#[tokio::test]
async fn a_session_is_with_one_instance_and_moves_when_it_is_in_no_turn() {
    let store = PostgresStore::open(new_database()).await.unwrap();
    let tenant = super::tenant(&store, "acme").await;
    let instances = store.instances();
    let (one, two) = (join(&instances, "one").await, join(&instances, "two").await);
    let session = session_of(tenant, "alice");
    store.insert_session(tenant, &session).await.unwrap();
    let claim = async |by| instances.claim(tenant, session.id, by).await.unwrap();
    let Claim::Taken {
        epoch: first,
        before: None,
    } = claim(one).await
    else {
        panic!("a free session is taken")
    };
    let Claim::Taken {
        epoch: second,
        before,
    } = claim(two).await
    else {
        panic!("one that is in no turn is taken from another")
    };
    assert!(first < second && before == Some(one));
    let turn = turn_of(&session);
    let refused = store.begin_turn(tenant, first, &turn, &[]).await;
    assert!(
        matches!(refused, Err(StoreError::StaleEpoch { .. })),
        "{refused:?}"
    );
    store.begin_turn(tenant, second, &turn, &[]).await.unwrap();
    assert!(matches!(claim(one).await, Claim::Held(holder) if holder.id == two));
    assert_eq!(
        instances.holder(tenant, session.id).await.unwrap().unwrap().id,
        two
    );
    let standing = instances.standing(tenant, &[session.id]).await.unwrap();
    assert_eq!(
        standing,
        [(
            session.id,
            SessionStanding {
                held: true,
                busy: true
            }
        )]
    );
    assert_eq!(instances.abandoned(9).await.unwrap(), []);

    dies(&store, two).await;
    assert_eq!(instances.abandoned(9).await.unwrap(), [(tenant, session.id)]);
    assert_eq!(instances.bury().await.unwrap(), 0, "it has left a turn");
    assert_eq!(
        instances.beat(two, TTL).await.unwrap().map(|_| ()),
        None,
        "the dead do not come back"
    );
    assert_eq!(claim(two).await, Claim::Fenced);
    let Claim::Taken { epoch: third, before } = claim(one).await else {
        panic!("what the dead had is taken")
    };
    assert!(second < third && before == Some(two));
    let late = store.finish_turn(tenant, second, &end_of(&turn), &[]).await;
    assert!(matches!(late, Err(StoreError::StaleEpoch { .. })), "{late:?}");
    store
        .finish_turn(tenant, third, &end_of(&turn), &[])
        .await
        .unwrap();
    assert_eq!(instances.bury().await.unwrap(), 1);
    let other = super::tenant(&store, "other").await;
    assert_eq!(
        instances.claim(other, session.id, one).await.unwrap(),
        Claim::NoSession
    );
    assert_eq!(instances.holder(other, session.id).await.unwrap(), None);
}

#[tokio::test]
async fn instances_hear_each_other_and_a_name_is_one_runs() {
    let store = PostgresStore::open(new_database()).await.unwrap();
    let tenant = super::tenant(&store, "acme").await;
    let instances = store.instances();
    let mut heard = instances.listen().await.unwrap();
    let one = join(&instances, "one").await;
    let session = session_of(tenant, "alice");
    store.insert_session(tenant, &session).await.unwrap();
    let Claim::Taken { epoch, .. } = instances.claim(tenant, session.id, one).await.unwrap() else {
        panic!("it is free")
    };
    instances.release(session.id, one).await.unwrap();
    instances.tell_gone(tenant, session.id).await.unwrap();
    let beat = instances.beat(one, TTL).await.unwrap().unwrap();
    assert_eq!(beat.alive.iter().map(|alive| alive.id).collect::<Vec<_>>(), [one]);
    for wanted in [
        Notice::Taken(session.id, epoch, one),
        Notice::Free(session.id),
        Notice::Gone(tenant, session.id),
        Notice::Beat(one),
    ] {
        assert_eq!(heard.next().await.unwrap(), wanted);
    }
    let again = join(&instances, "one").await;
    assert!(
        instances.beat(one, TTL).await.unwrap().is_none(),
        "an earlier run of the name is over"
    );
    let old = Instance {
        id: one,
        ..instance("one")
    };
    assert!(instances.is_superseded(&old).await.unwrap());
    instances.leave(again).await.unwrap();
    assert!(!instances.is_superseded(&old).await.unwrap());
}
