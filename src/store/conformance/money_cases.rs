//! What every store does with the ledger and with budgets: nothing is lost, nothing is invented.

use proptest::prelude::*;

use super::*;
use crate::domain::{
    Amount, Budget, BudgetId, BudgetPeriod, BudgetScope, EntryId, KeyId, LedgerEntry, Payer, Reservation,
    Reserved, Spender, UsageGroup, UsageQuery, UsageSum,
};

pub(in crate::store::conformance) fn usage_of(turn: &Turn, model: &str, tokens: u64) -> LedgerEntry {
    let before = now();
    while now() == before {
        std::hint::spin_loop();
    }
    LedgerEntry {
        id: EntryId::generate(&SystemClock),
        spender: Spender {
            user: "alice".parse().unwrap(),
            session: turn.session,
            turn: Some(turn.id),
            key: None,
        },
        model: model.into(),
        usage: Usage {
            input_tokens: tokens,
            output_tokens: tokens * 2,
            cache_read_input_tokens: tokens * 3,
            cache_creation_input_tokens: tokens * 4,
        },
        cost: MicroUsd::new(tokens * 1_000_000_000_000),
        payer: Payer::Tenant,
        at: turn.started_at,
    }
}

pub(in crate::store::conformance) async fn usage_is_entered_once_and_added_up(fixture: Fixture) {
    let (store, owner) = (&*fixture.store, fixture.tenant);
    let session = fixture.session("alice").await;
    let day = DateTime::from_timestamp_micros(1_700_000_000_000_000).unwrap();
    let turn = |at| Turn {
        started_at: at,
        ..turn_of(&session)
    };
    let (first, second) = (turn(day), turn(day + TimeDelta::days(1)));
    let key = KeyId::generate(&SystemClock);
    let mut entries = [
        usage_of(&first, "haiku", 1),
        usage_of(&first, "opus", 2),
        usage_of(&second, "opus", 4),
    ];
    entries[2].spender.key = Some(key);
    for _ in 0..2 {
        store.enter_usage(owner, &entries).await.unwrap();
    }
    let changed = LedgerEntry {
        cost: MicroUsd::new(9),
        ..entries[0].clone()
    };
    store.enter_usage(owner, &[changed]).await.unwrap();
    let other = tenant(store, "other").await;
    let others = usage_of(&turn(day), "opus", 100);
    store
        .enter_usage(other, std::slice::from_ref(&others))
        .await
        .unwrap();
    let sums = async |query: UsageQuery| store.sum_usage(Some(owner), &query).await.unwrap();
    let tokens = |sums: &[UsageSum]| sums.iter().map(|sum| sum.usage.input_tokens).collect::<Vec<_>>();
    let all = sums(UsageQuery::default()).await;
    assert_eq!(all.len(), 1);
    assert_eq!(
        (all[0].usage.cache_creation_input_tokens, all[0].entries),
        (28, 3)
    );
    assert_eq!(all[0].cost, MicroUsd::new(7_000_000_000_000));
    let by = |by: &[UsageGroup]| UsageQuery {
        by: by.to_vec(),
        ..UsageQuery::default()
    };
    let models = sums(by(&[UsageGroup::Model])).await;
    assert_eq!(models[0].model.as_deref(), Some("haiku"));
    assert_eq!(tokens(&models), [1, 6]);
    let days = sums(by(&[
        UsageGroup::Model,
        UsageGroup::Day,
        UsageGroup::User,
        UsageGroup::Session,
    ]))
    .await;
    assert_eq!(tokens(&days), [1, 2, 4]);
    assert_eq!(days[0].day, Some(day.date_naive()));
    assert_eq!(days[0].session, Some(session.id));
    let keys = sums(by(&[UsageGroup::Key])).await;
    assert_eq!((keys[0].key, keys[1].key), (None, Some(key)));
    assert_eq!(tokens(&keys), [3, 4]);
    let tenants = store.sum_usage(None, &by(&[UsageGroup::Tenant])).await.unwrap();
    let mut found: Vec<_> = tenants
        .iter()
        .map(|sum| (sum.tenant, sum.usage.input_tokens))
        .collect();
    found.sort_unstable();
    let mut expected = [(Some(owner), 7), (Some(other), 100)];
    expected.sort_unstable();
    assert_eq!(found, expected);
    let second_day = UsageQuery {
        from: Some(day + TimeDelta::days(1)),
        before: Some(day + TimeDelta::days(2)),
        user: Some("alice".parse().unwrap()),
        key: Some(key),
        session: Some(session.id),
        turn: None,
        by: Vec::new(),
    };
    assert_eq!(tokens(&sums(second_day).await), [4]);
    let first_turn = UsageQuery {
        turn: Some(first.id),
        ..UsageQuery::default()
    };
    assert_eq!(tokens(&sums(first_turn).await), [3]);
    let nobody = UsageQuery {
        user: Some("bob".parse().unwrap()),
        ..UsageQuery::default()
    };
    assert_eq!(sums(nobody).await, []);
    let listed = store.list_usage(owner, None, 2).await.unwrap();
    let rest = store
        .list_usage(owner, listed.last().map(|entry| entry.id), 9)
        .await
        .unwrap();
    assert_eq!([listed, rest].concat(), entries);
}

pub(in crate::store::conformance) async fn a_turns_usage_is_entered_with_its_end(fixture: Fixture) {
    let (session, epoch) = fixture.owned_session().await;
    let turn = turn_of(&session);
    let mut end = end_of(&turn);
    end.usage = vec![usage_of(&turn, "opus", 5), usage_of(&turn, "haiku", 1)];
    fixture
        .store
        .begin_turn(fixture.tenant, epoch, &turn, &[])
        .await
        .unwrap();
    for _ in 0..2 {
        fixture
            .store
            .finish_turn(fixture.tenant, epoch, &end, &[])
            .await
            .unwrap();
    }
    let all = fixture
        .store
        .sum_usage(Some(fixture.tenant), &UsageQuery::default())
        .await
        .unwrap();
    assert_eq!((all[0].usage.input_tokens, all[0].entries), (6, 2));
}

fn budget(scope: BudgetScope, period: BudgetPeriod, micro_usd: u64) -> Budget {
    let before = now();
    while now() == before {
        std::hint::spin_loop();
    }
    Budget {
        id: BudgetId::generate(&SystemClock),
        scope,
        period,
        max_cost: Some(MicroUsd::new(micro_usd)),
        max_tokens: None,
        created_at: now(),
    }
}

/// A request of this user, that may spend at most `estimate`.
fn request(session: SessionId, user: &str, estimate: u64) -> Reservation {
    let before = now();
    while now() == before {
        std::hint::spin_loop();
    }
    Reservation {
        entry: LedgerEntry {
            id: EntryId::generate(&SystemClock),
            spender: Spender {
                user: user.parse().unwrap(),
                session,
                turn: None,
                key: None,
            },
            model: "opus".into(),
            usage: Usage::default(),
            cost: MicroUsd::ZERO,
            payer: Payer::Platform,
            at: now(),
        },
        estimate: Amount {
            cost: MicroUsd::new(estimate),
            tokens: estimate,
        },
    }
}

/// The same, as it ended.
fn ended(request: &Reservation, cost: u64) -> LedgerEntry {
    LedgerEntry {
        cost: MicroUsd::new(cost),
        usage: Usage {
            output_tokens: cost,
            ..Usage::default()
        },
        ..request.entry.clone()
    }
}

async fn spent(store: &dyn Store, tenant: TenantId) -> Vec<(u64, u64)> {
    let standings = store.list_budgets(tenant, None, now(), None, 100).await.unwrap();
    standings
        .iter()
        .map(|standing| (standing.spent.cost.get(), standing.reserved.cost.get()))
        .collect()
}

pub(in crate::store::conformance) async fn a_budget_lets_requests_through_until_it_is_spent_or_set_aside(
    fixture: Fixture,
) {
    let (store, owner) = (&*fixture.store, fixture.tenant);
    let session = fixture.session("alice").await.id;
    let user = BudgetScope::User("alice".parse().unwrap());
    let set = budget(user.clone(), BudgetPeriod::Day, 100);
    assert_eq!(store.set_budget(owner, &set, &note()).await.unwrap(), set);
    let reserve = async |request: &Reservation| store.reserve(owner, request).await.unwrap();
    let (first, second, third) = (
        request(session, "alice", 60),
        request(session, "alice", 60),
        request(session, "alice", 60),
    );
    assert_eq!(reserve(&first).await, Reserved::Granted);
    assert_eq!(reserve(&second).await, Reserved::Granted);
    assert_eq!(reserve(&third).await, Reserved::Waits(Box::new(set.clone())));
    assert_eq!(spent(store, owner).await, [(0, 120)]);
    let bob = request(session, "bob", 60);
    assert_eq!(reserve(&bob).await, Reserved::Granted, "it covers alice alone");

    assert_eq!(store.settle(owner, &ended(&first, 30)).await.unwrap(), []);
    assert_eq!(spent(store, owner).await, [(30, 60)]);
    assert_eq!(reserve(&third).await, Reserved::Granted);
    let warnings = store.settle(owner, &ended(&second, 50)).await.unwrap();
    assert_eq!(
        warnings.iter().map(|warning| warning.percent).collect::<Vec<_>>(),
        [75]
    );
    for _ in 0..2 {
        store.settle(owner, &ended(&third, 25)).await.unwrap();
    }
    store.settle(owner, &ended(&bob, 7)).await.unwrap();
    assert_eq!(spent(store, owner).await, [(105, 0)], "and once");
    let fourth = request(session, "alice", 1);
    assert_eq!(reserve(&fourth).await, Reserved::Exhausted(Box::new(set.clone())));

    let more = Budget {
        max_cost: Some(MicroUsd::new(1000)),
        max_tokens: Some(105),
        ..budget(user, BudgetPeriod::Day, 0)
    };
    let raised = store.set_budget(owner, &more, &note()).await.unwrap();
    assert_eq!((raised.id, raised.max_cost), (set.id, more.max_cost));
    assert!(
        matches!(reserve(&fourth).await, Reserved::Exhausted(_)),
        "of tokens there are no more"
    );
    let other = tenant(store, "other").await;
    assert!(!store.remove_budget(other, set.id, &note()).await.unwrap());
    assert!(store.remove_budget(owner, set.id, &note()).await.unwrap());
    assert_eq!(reserve(&fourth).await, Reserved::Granted);
    store.settle(owner, &fourth.entry).await.unwrap();
    assert_eq!(
        store.list_usage(owner, None, 9).await.unwrap().len(),
        4,
        "nothing was used"
    );
}

pub(in crate::store::conformance) async fn a_budget_counts_what_was_spent_before_it_was_set_and_only_its_period(
    fixture: Fixture,
) {
    let (store, owner) = (&*fixture.store, fixture.tenant);
    let session = fixture.session("alice").await.id;
    let mut old = ended(&request(session, "alice", 0), 1000);
    old.at -= TimeDelta::days(40);
    let today = ended(&request(session, "alice", 0), 7);
    store.enter_usage(owner, &[old, today]).await.unwrap();
    for period in [BudgetPeriod::Day, BudgetPeriod::Month, BudgetPeriod::Total] {
        let set = budget(BudgetScope::Session(session), period, 10_000);
        store.set_budget(owner, &set, &note()).await.unwrap();
    }
    assert_eq!(spent(store, owner).await, [(7, 0), (7, 0), (1007, 0)]);
    let next = request(session, "alice", 5);
    store.reserve(owner, &next).await.unwrap();
    store.settle(owner, &ended(&next, 3)).await.unwrap();
    assert_eq!(spent(store, owner).await, [(10, 0), (10, 0), (1010, 0)]);
    let tomorrow = now() + TimeDelta::days(1);
    let then = store.list_budgets(owner, None, tomorrow, None, 1).await.unwrap();
    assert_eq!(then[0].spent, Amount::default());
    let covering = store
        .list_budgets(owner, Some(&next.entry.spender), now(), None, 9)
        .await
        .unwrap();
    assert_eq!(covering.len(), 3);
    let elsewhere = Spender {
        session: SessionId::generate(&SystemClock),
        ..next.entry.spender
    };
    let none = store.list_budgets(owner, Some(&elsewhere), now(), None, 9).await;
    assert_eq!(none.unwrap(), []);
}

pub(in crate::store::conformance) async fn a_request_whose_server_is_gone_is_billed_at_what_was_seen(
    fixture: Fixture,
) {
    let (store, owner) = (&*fixture.store, fixture.tenant);
    let session = fixture.session("alice").await.id;
    let set = budget(BudgetScope::Tenant, BudgetPeriod::Total, 1000);
    store.set_budget(owner, &set, &note()).await.unwrap();
    let (seen, unseen, alive) = (
        request(session, "alice", 100),
        request(session, "alice", 100),
        request(session, "alice", 100),
    );
    for request in [&seen, &unseen, &alive] {
        assert_eq!(store.reserve(owner, request).await.unwrap(), Reserved::Granted);
    }
    let died = now();
    store
        .note_seen(owner, &ended(&seen, 40), died - TimeDelta::seconds(1))
        .await
        .unwrap();
    store
        .note_seen(owner, &alive.entry, died + TimeDelta::seconds(60))
        .await
        .unwrap();
    assert_eq!(spent(store, owner).await, [(0, 300)]);
    assert_eq!(store.settle_abandoned(died, 9).await.unwrap(), 2);
    assert_eq!(store.settle_abandoned(died, 9).await.unwrap(), 0);
    assert_eq!(spent(store, owner).await, [(40, 100)]);
    // It was alive after all, and slow: what it tells now comes too late, and is not entered twice.
    store.settle(owner, &ended(&seen, 90)).await.unwrap();
    assert_eq!(spent(store, owner).await, [(40, 100)]);
}

pub(in crate::store::conformance) async fn many_at_once_spend_no_more_than_the_limit_and_one_request(
    fixture: Fixture,
) {
    let (store, owner) = (&fixture.store, fixture.tenant);
    let session = fixture.session("alice").await.id;
    let set = budget(BudgetScope::Tenant, BudgetPeriod::Day, 1000);
    store.set_budget(owner, &set, &note()).await.unwrap();
    let tasks = crate::lifecycle::Tasks::on(tokio::runtime::Handle::current());
    let all = (0..64).map(|number| {
        let store = Arc::clone(store);
        tasks.spawn(async move {
            let request = request(session, "alice", 100);
            loop {
                match store.reserve(owner, &request).await.unwrap() {
                    Reserved::Granted => break,
                    Reserved::Waits(_) => tokio::task::yield_now().await,
                    Reserved::Exhausted(_) => return,
                }
            }
            store
                .settle(owner, &ended(&request, 50 + number % 51))
                .await
                .unwrap();
        })
    });
    futures_util::future::join_all(all).await;
    let (total, reserved) = spent(&**store, owner).await[0];
    assert!((1000..1100).contains(&total), "{total}");
    assert_eq!(reserved, 0);
}

/// What may happen to money.
#[derive(Debug, Clone)]
enum Step {
    Set { scope: usize, limit: u64 },
    Remove { scope: usize },
    Reserve { user: usize, estimate: u64 },
    See { which: usize, cost: u64 },
    Settle { which: usize, cost: u64 },
    Release { which: usize },
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        1 => (0..4_usize, 0..400_u64).prop_map(|(scope, limit)| Step::Set { scope, limit }),
        1 => (0..4_usize).prop_map(|scope| Step::Remove { scope }),
        6 => (0..2_usize, 0..100_u64).prop_map(|(user, estimate)| Step::Reserve { user, estimate }),
        2 => (0..8_usize, 0..100_u64).prop_map(|(which, cost)| Step::See { which, cost }),
        4 => (0..8_usize, 0..100_u64).prop_map(|(which, cost)| Step::Settle { which, cost }),
        1 => (0..8_usize).prop_map(|which| Step::Release { which }),
        1 => Just(Step::Crash),
    ];
    proptest::collection::vec(step, 1..40)
}

/// Does the steps; after each, what budgets say is the sum of the ledger, and what runs is what is set aside.
async fn do_steps(store: &dyn Store, owner: TenantId, steps: &[Step]) {
    let users = ["alice", "bob"];
    let session = SessionId::generate(&SystemClock);
    let scope = |number: usize| match number {
        0 => BudgetScope::Tenant,
        1 | 2 => BudgetScope::User(users[number - 1].parse().unwrap()),
        _ => BudgetScope::Session(session),
    };
    let mut running: Vec<(Reservation, u64)> = Vec::new();
    let mut owed: u64 = 0;
    for step in steps {
        match step {
            Step::Set { scope: number, limit } => {
                let set = budget(scope(*number), BudgetPeriod::Total, *limit);
                store.set_budget(owner, &set, &note()).await.unwrap();
            }
            Step::Remove { scope: number } => {
                let all = store.list_budgets(owner, None, now(), None, 100).await.unwrap();
                let found = all
                    .iter()
                    .find(|standing| standing.budget.scope == scope(*number));
                if let Some(standing) = found {
                    store
                        .remove_budget(owner, standing.budget.id, &note())
                        .await
                        .unwrap();
                }
            }
            Step::Reserve { user, estimate } => {
                let request = request(session, users[*user], *estimate);
                let covering = store
                    .list_budgets(owner, Some(&request.entry.spender), now(), None, 100)
                    .await
                    .unwrap();
                let open = covering.iter().all(|standing| {
                    let limit = standing.budget.max_cost.unwrap();
                    standing.spent.plus(standing.reserved).cost < limit
                });
                let reserved = store.reserve(owner, &request).await.unwrap();
                assert_eq!(reserved == Reserved::Granted, open, "{reserved:?}");
                if open {
                    running.push((request, 0));
                }
            }
            Step::See { which, cost } => {
                if let Some((request, seen)) = running.get_mut(*which) {
                    *seen = *cost;
                    store
                        .note_seen(owner, &ended(request, *cost), now())
                        .await
                        .unwrap();
                }
            }
            Step::Settle { which, cost } if *which < running.len() => {
                let (request, _) = running.remove(*which);
                owed += cost;
                store.settle(owner, &ended(&request, *cost)).await.unwrap();
            }
            Step::Release { which } if *which < running.len() => {
                let (request, _) = running.remove(*which);
                store.settle(owner, &request.entry).await.unwrap();
            }
            Step::Settle { .. } | Step::Release { .. } => {}
            Step::Crash => {
                owed += running.drain(..).map(|(_, seen)| seen).sum::<u64>();
                store
                    .settle_abandoned(now() + TimeDelta::hours(1), 1000)
                    .await
                    .unwrap();
            }
        }
        let entries = store.list_usage(owner, None, 1000).await.unwrap();
        let entered: u64 = entries.iter().map(|entry| entry.cost.get()).sum();
        assert_eq!(entered, owed, "nothing is lost, and nothing invented");
        for standing in store.list_budgets(owner, None, now(), None, 100).await.unwrap() {
            let covers = |spender: &Spender| standing.budget.scope.covers(spender);
            let spent: u64 = entries
                .iter()
                .filter(|entry| covers(&entry.spender))
                .map(|entry| entry.cost.get())
                .sum();
            assert_eq!(standing.spent.cost.get(), spent, "{standing:?}");
            let most: u64 = running
                .iter()
                .filter(|(request, _)| covers(&request.entry.spender))
                .map(|(request, _)| request.estimate.cost.get())
                .sum();
            // What was set aside before there was the budget does not count.
            assert!(standing.reserved.cost.get() <= most, "{standing:?}");
            assert!(
                !running.is_empty() || standing.reserved == Amount::default(),
                "{standing:?}"
            );
        }
    }
}

pub(in crate::store::conformance) async fn no_sequence_of_steps_loses_or_invents_money(fixture: Fixture) {
    let cases = if fixture.store.backend() == "memory" {
        200
    } else {
        25
    };
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let runtime = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| {
        let number = std::cell::Cell::new(0);
        let outcome = runner.run(&steps(), |steps| {
            number.set(number.get() + 1);
            runtime.block_on(async {
                // A tenant of its own: what earlier cases left is not seen.
                let owner = tenant(&*fixture.store, &format!("case-{}", number.get())).await;
                do_steps(&*fixture.store, owner, &steps).await;
            });
            Ok(())
        });
        outcome.unwrap();
    });
}

/// Uses all of it, in every way that makes a statement of its own.
pub(in crate::store::conformance) async fn every_way(store: &dyn Store, owner: TenantId, session: SessionId) {
    let key = KeyId::generate(&SystemClock);
    let mut asked = request(session, "alice", 1);
    asked.entry.spender.key = Some(key);
    let scopes = [
        BudgetScope::Tenant,
        BudgetScope::User("alice".parse().unwrap()),
        BudgetScope::Key(key),
        BudgetScope::Session(session),
    ];
    for scope in scopes {
        for period in [BudgetPeriod::Day, BudgetPeriod::Total] {
            let set = budget(scope.clone(), period, 1_000_000_000_000_000_000);
            store.set_budget(owner, &set, &note()).await.unwrap();
        }
    }
    let all = store.list_budgets(owner, None, now(), None, 100).await.unwrap();
    let first = all[0].budget.id;
    store
        .list_budgets(owner, Some(&asked.entry.spender), now(), Some(first), 100)
        .await
        .unwrap();
    store
        .list_budgets(owner, None, now(), Some(first), 100)
        .await
        .unwrap();
    for _ in 0..2 {
        assert_eq!(store.reserve(owner, &asked).await.unwrap(), Reserved::Granted);
        store.note_seen(owner, &ended(&asked, 1), now()).await.unwrap();
        store
            .settle_abandoned(now() + TimeDelta::hours(1), 9)
            .await
            .unwrap();
        asked.entry.id = EntryId::generate(&SystemClock);
    }
    let keyless = request(session, "alice", 1);
    store.reserve(owner, &keyless).await.unwrap();
    store.settle(owner, &ended(&keyless, 1)).await.unwrap();
    store.enter_usage(owner, &[ended(&keyless, 2)]).await.unwrap();
    store.remove_budget(owner, first, &note()).await.unwrap();
}
