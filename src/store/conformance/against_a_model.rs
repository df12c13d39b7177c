//! Random operations against each SQL store and a plain model in memory: after every step, both answer the same.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Runtime;

use super::*;

/// One operation. Numbers name sessions, turns and times by their places in what was made so far.
#[derive(Debug, Clone)]
enum Step {
    Make {
        user: u8,
        title: Option<String>,
        tag: u8,
    },
    Retitle {
        session: usize,
        title: Option<String>,
    },
    Touch {
        session: usize,
        seconds: i64,
    },
    Close {
        session: usize,
    },
    Acquire {
        session: usize,
    },
    Append {
        session: usize,
        stale: bool,
        skip: u32,
        kinds: Vec<u8>,
    },
    Begin {
        session: usize,
    },
    Finish {
        session: usize,
    },
    WriteDown {
        session: usize,
        entries: Vec<u8>,
    },
    Remove {
        session: usize,
        seconds: i64,
    },
    TrimDeltas {
        seconds: i64,
    },
    TrimEvents {
        kind: TrimKind,
        seconds: i64,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let session = || 0_usize..6;
    let seconds = || 0_i64..400;
    let title = || proptest::option::of("[ab ]{0,6}|\\PC{0,8}");
    let step = prop_oneof![
        3 => (0_u8..3, title(), 0_u8..3).prop_map(|(user, title, tag)| Step::Make { user, title, tag }),
        1 => (session(), title()).prop_map(|(session, title)| Step::Retitle { session, title }),
        1 => (session(), seconds()).prop_map(|(session, seconds)| Step::Touch { session, seconds }),
        1 => session().prop_map(|session| Step::Close { session }),
        1 => session().prop_map(|session| Step::Acquire { session }),
        6 => (session(), prop::bool::weighted(0.1), 0_u32..2, prop::collection::vec(0_u8..5, 1..8))
            .prop_map(|(session, stale, skip, kinds)| Step::Append { session, stale, skip, kinds }),
        3 => session().prop_map(|session| Step::Begin { session }),
        3 => session().prop_map(|session| Step::Finish { session }),
        2 => (session(), prop::collection::vec(0_u8..9, 1..6))
            .prop_map(|(session, entries)| Step::WriteDown { session, entries }),
        1 => (session(), seconds()).prop_map(|(session, seconds)| Step::Remove { session, seconds }),
        1 => seconds().prop_map(|seconds| Step::TrimDeltas { seconds }),
        2 => (any::<bool>(), seconds()).prop_map(|(all, seconds)| Step::TrimEvents {
            kind: if all { TrimKind::All } else { TrimKind::Events },
            seconds,
        }),
    ];
    prop::collection::vec(step, 1..40)
}

/// What the steps have made so far, and a time that moves a second with each.
struct World {
    tenant: TenantId,
    sessions: Vec<Session>,
    epochs: Vec<Option<Epoch>>,
    next_id: Vec<u32>,
    turns: Vec<Turn>,
    now: DateTime<Utc>,
}

impl World {
    fn at(&self, seconds: i64) -> DateTime<Utc> {
        self.now - TimeDelta::seconds(200) + TimeDelta::seconds(seconds)
    }

    fn pick(&self, session: usize) -> Option<usize> {
        (!self.sessions.is_empty()).then(|| session % self.sessions.len())
    }
}

/// An answer in a form that can be compared: errors by their names.
fn told<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> String {
    match answer {
        Ok(answer) => format!("{answer:?}"),
        Err(error) => format!("error: {error}"),
    }
}

/// Does a step in both stores, and answers what each told.
#[expect(clippy::too_many_lines, reason = "one arm for each kind of step")]
async fn take(step: &Step, world: &mut World, stores: [&dyn Store; 2]) -> Vec<String> {
    let tenant = world.tenant;
    let mut answers = Vec::new();
    macro_rules! both {
        ($store:ident => $call:expr) => {
            for $store in stores {
                answers.push(told($call.await));
            }
        };
    }
    let picked = |world: &World, session: usize| world.pick(session).map(|at| (at, world.sessions[at].id));
    match step {
        Step::Make { user, title, tag } => {
            let session = Session {
                title: title.clone(),
                metadata: json!({"tag": tag, "🦀": title}).as_object().unwrap().clone(),
                created_at: world.now,
                last_active_at: world.now,
                ..session_of(tenant, ["a", "b", "c"][usize::from(*user)])
            };
            both!(store => store.insert_session(tenant, &session));
            world.sessions.push(session);
            world.epochs.push(None);
            world.next_id.push(1);
        }
        Step::Retitle { session, title } => {
            let Some((_, id)) = picked(world, *session) else {
                return answers;
            };
            let change = SessionChange {
                title: Some(title.clone()),
                metadata: None,
                ..SessionChange::default()
            };
            both!(store => store.update_session(tenant, id, &change));
        }
        Step::Touch { session, seconds } => {
            let Some((_, id)) = picked(world, *session) else {
                return answers;
            };
            let at = world.at(*seconds);
            both!(store => store.touch_session(tenant, id, at));
        }
        Step::Close { session } => {
            let Some((_, id)) = picked(world, *session) else {
                return answers;
            };
            let at = world.now;
            both!(store => store.close_session(tenant, id, at));
        }
        Step::Acquire { session } => {
            let Some((at, id)) = picked(world, *session) else {
                return answers;
            };
            for store in stores {
                let epoch = store.acquire_session(tenant, id).await;
                if let Ok(Some(epoch)) = epoch {
                    world.epochs[at] = Some(epoch);
                    world.next_id[at] = 1;
                }
                answers.push(told(epoch));
            }
        }
        Step::Append {
            session,
            stale,
            skip,
            kinds,
        } => {
            let Some((at, id)) = picked(world, *session) else {
                return answers;
            };
            let epoch = world.epochs[at].unwrap_or(Epoch::ZERO);
            let epoch = if *stale {
                Epoch::new(epoch.get() + 7).unwrap()
            } else {
                epoch
            };
            let first = (world.next_id[at] + skip)
                .saturating_sub(u32::from(*skip == 1) * 3)
                .max(1);
            let events: Vec<_> = (first..)
                .zip(kinds)
                .map(|(sequence, kind)| Event {
                    created_at: world.now,
                    turn_id: world.turns.get(usize::from(*kind)).map(|turn| turn.id),
                    ..event(
                        epoch,
                        sequence,
                        match kind {
                            0 | 1 => EventBody::TextDelta { text: "é\0".into() },
                            2 => EventBody::ThinkingDelta { text: "t".into() },
                            3 => EventBody::TurnStarted {},
                            _ => said("m"),
                        },
                    )
                })
                .collect();
            both!(store => store.append_events(tenant, id, epoch, &events));
            let length = u32::try_from(events.len()).unwrap();
            world.next_id[at] = world.next_id[at].max(first + length);
        }
        Step::Begin { session } => {
            let Some((at, id)) = picked(world, *session) else {
                return answers;
            };
            // Every third turn is queued first, and begun, or ended, by a later step.
            let waiting = world
                .turns
                .iter()
                .position(|turn| turn.session == id && turn.queued);
            let waiting = waiting.map(|at| world.turns.remove(at));
            let turn = Turn {
                started_at: world.now,
                queued: waiting.is_none() && world.turns.len() % 3 == 2,
                ..waiting.unwrap_or_else(|| turn_of(&world.sessions[at]))
            };
            let epoch = world.epochs[at].unwrap_or(Epoch::ZERO);
            let events = [event(epoch, world.next_id[at], said("begin"))];
            world.next_id[at] += 1;
            if turn.queued {
                both!(store => store.queue_turn(tenant, epoch, &turn, &events));
            } else {
                both!(store => store.begin_turn(tenant, epoch, &turn, &events));
            }
            world.turns.push(turn);
        }
        Step::Finish { session } => {
            let Some((at, id)) = picked(world, *session) else {
                return answers;
            };
            let Some(turn) = world.turns.iter().rev().find(|turn| turn.session == id) else {
                return answers;
            };
            let mut end = end_of(turn);
            end.outcome.ended_at = world.now;
            end.usage = vec![money_cases::usage_of(turn, "opus", 1)];
            let epoch = world.epochs[at].unwrap_or(Epoch::ZERO);
            let events = [event(epoch, world.next_id[at], said("end"))];
            world.next_id[at] += 1;
            both!(store => store.finish_turn(tenant, epoch, &end, &events));
        }
        Step::WriteDown { session, entries } => {
            let Some((at, id)) = picked(world, *session) else {
                return answers;
            };
            let epoch = world.epochs[at].unwrap_or(Epoch::ZERO);
            let lines: Vec<_> = entries
                .iter()
                .map(|number| match number {
                    7 => "{torn".to_owned(),
                    8 => "{}".to_owned(),
                    number => {
                        json!({"uuid": uuid::Uuid::from_u128(u128::from(*number)).to_string()}).to_string()
                    }
                })
                .collect();
            let path = ["p/a.jsonl", "p/b.jsonl"][entries.len() % 2].parse().unwrap();
            both!(store => store.append_transcript(tenant, id, epoch, &path, &lines));
        }
        Step::Remove { session, seconds } => {
            let Some((_, id)) = picked(world, *session) else {
                return answers;
            };
            let border = world.at(*seconds);
            both!(store => store.remove_session(tenant, id, border));
            for store in stores {
                while store.purge_removed(3).await.unwrap() > 0 {}
            }
        }
        Step::TrimDeltas { seconds } => {
            let border = world.at(*seconds);
            for store in stores {
                while store
                    .trim_events(tenant, TrimKind::Deltas, border, 2)
                    .await
                    .unwrap()
                    > 0
                {}
            }
        }
        Step::TrimEvents { kind, seconds } => {
            let border = world.at(*seconds);
            for store in stores {
                while store.trim_events(tenant, *kind, border, 3).await.unwrap() > 0 {}
            }
        }
    }
    answers
}

/// Everything that can be seen of a store.
async fn seen(world: &World, store: &dyn Store) -> Vec<String> {
    let tenant = world.tenant;
    let mut seen = Vec::new();
    let all = SessionFilter::default();
    let titled = SessionFilter {
        title: Some("a".into()),
        ..SessionFilter::default()
    };
    let tagged = SessionFilter {
        metadata: vec![("tag".into(), "1".into())],
        status: Some(SessionStatus::Active),
        activity: Some(Activity::After(world.at(150))),
        ..SessionFilter::default()
    };
    for filter in [all, titled, tagged] {
        seen.push(told(store.list_sessions(tenant, &filter, None, 4).await));
    }
    for session in &world.sessions {
        let everything = EventQuery {
            deltas: true,
            ..EventQuery::default()
        };
        let whole = EventQuery::default();
        for query in [everything, whole] {
            seen.push(told(store.read_events(tenant, session.id, &query, 100).await));
        }
        seen.push(told(store.log_bounds(tenant, session.id).await));
        seen.push(told(store.list_turns(tenant, session.id, None, 3).await));
        seen.push(told(store.unfinished_turns(tenant, session.id).await));
        seen.push(told(store.read_transcript(tenant, session.id).await));
        seen.push(told(store.session_epoch(tenant, session.id).await));
    }
    seen.push(told(store.list_usage(tenant, None, 100).await));
    seen
}

fn held_to_a_model(runtime: &Runtime, fixture: &Fixture, cases: u32) {
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    });
    let number = std::cell::Cell::new(0);
    let outcome = runner.run(&steps(), |steps| {
        number.set(number.get() + 1);
        runtime.block_on(async {
            let model = MemoryStore::new();
            // A tenant of its own: what earlier cases left is not seen.
            let new = Tenant::new(
                TenantId::generate(&SystemClock),
                format!("case-{}", number.get()).parse().unwrap(),
                now(),
            );
            let stores: [&dyn Store; 2] = [&model, &*fixture.store];
            for store in stores {
                store.ensure_tenant(&new).await.unwrap();
            }
            let mut world = World {
                tenant: new.id,
                sessions: Vec::new(),
                epochs: Vec::new(),
                next_id: Vec::new(),
                turns: Vec::new(),
                now: now(),
            };
            for step in &steps {
                world.now += TimeDelta::seconds(1);
                let answers = take(step, &mut world, stores).await;
                if let [model, store] = &answers[..] {
                    prop_assert_eq!(store, model, "after {:?}", step);
                }
                if matches!(step, Step::Make { .. }) {
                    continue;
                }
                let (model, store) = (seen(&world, stores[0]).await, seen(&world, stores[1]).await);
                for (store, model) in store.iter().zip(&model) {
                    prop_assert_eq!(store, model, "after {:?}", step);
                }
            }
            Ok(())
        })
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

#[test]
fn sqlite_does_what_the_model_does() {
    let runtime = runtime();
    let fixture = runtime.block_on(sqlite());
    held_to_a_model(&runtime, &fixture, 40);
}

#[test]
fn postgresql_does_what_the_model_does() {
    let runtime = runtime();
    let fixture = runtime.block_on(postgres());
    held_to_a_model(&runtime, &fixture, 40);
}
