//! Routes that are others than when an attempt was planned, as a restart or a reload finds them.

use proptest::{prelude::*, test_runner::FileFailurePersistence};

use super::{any::*, *};

const IDEMPOTENT: RouteProperties =
    RouteProperties { idempotent_for_ms: Some(5 * MINUTE), ..PLAIN };

impl DrivenWorkflow {
    /// The service goes on with other routes.
    fn rerouted(&mut self, offers: &[RouteCandidate]) -> &mut DrivenWorkflow {
        self.routes = Offers(offers.to_vec());
        self.handle(Event::Rerouted);
        self
    }

    fn throttled(&mut self) -> &mut DrivenWorkflow {
        let failure = failure(Fault::Provider);
        self.start().answer(SendResult::RetryLater { failure, after_ms: Some(5 * MINUTE) })
    }

    fn unknown(&mut self) -> &mut DrivenWorkflow {
        self.start().answer(SendResult::Unknown(failure(Fault::Provider)))
    }

    /// By which routes, and under which accounts, calls were STARTED.
    fn started(&self) -> Vec<(&str, &str)> {
        let started = |(_, fact): &'_ (Moment, Fact)| match fact {
            Fact::AttemptStarted { attempt, .. } => Some(*attempt),
            _ => None,
        };
        let accounts = self.journal.iter().filter_map(|(_, fact)| match fact {
            Fact::AttemptStarted { account, .. } => Some(&**account),
            _ => None,
        });
        let attempts = self.journal.iter().filter_map(started);
        let routes = attempts.map(|it| &*self.workflow.attempt(it).unwrap().route);
        routes.zip(accounts).collect()
    }
}

#[test]
fn what_was_certainly_not_sent_goes_on_at_once_by_a_route_that_has_another_name_now() {
    for is_planned in [true, false] {
        let mut driven = DrivenWorkflow::of(plan(&[None]));
        if !is_planned {
            driven.throttled();
        }
        driven.rerouted(&[candidate("b", "p/main", PLAIN)]);
        assert_eq!(driven.workflow.wants_permit(), Some(2), "it does not wait for its retry");
        driven.accepted();
        assert_eq!(driven.started().last(), Some(&("sms-b", "p/main")));
    }
}

#[test]
fn a_second_send_goes_by_no_other_route_though_the_first_is_known_to_have_failed_by_then() {
    let resending = Plan { on_unknown: OnUnknown::Resend, ..messenger_then_sms() };
    let mut driven = DrivenWorkflow::of(resending);
    driven.unknown().throttled().update(1, Report::Failed(Failure::Undeliverable));
    assert_eq!(driven.step(), Some(0), "the second send is alive");
    driven.rerouted(&[candidate("b", "p/main", PLAIN)]);
    assert_eq!(driven.step(), Some(1));
    let failed =
        |fact: &Fact| matches!(fact, Fact::StepFailed { step: 0, reason: Reason::NoRoute, .. });
    assert!(driven.journal.iter().any(|(_, fact)| failed(fact)), "{:?}", driven.journal);
}

#[test]
fn where_no_route_is_left_the_step_ends_at_once() {
    for is_planned in [true, false] {
        let mut driven = DrivenWorkflow::of(messenger_then_sms());
        if !is_planned {
            driven.throttled();
        }
        driven.rerouted(&[]);
        assert_eq!(driven.ended(), Some((EndState::Failed, Reason::NoRoute)));
    }
}

#[test]
fn a_call_that_was_out_while_its_route_went_does_not_wait_to_be_made_there_again() {
    let mut driven = DrivenWorkflow::of(messenger_then_sms());
    driven.start().rerouted(&[candidate("b", "p/main", PLAIN)]);
    let failure = failure(Fault::Provider);
    driven.answer(SendResult::RetryLater { failure: failure.clone(), after_ms: None });
    assert_eq!(driven.workflow.wants_permit(), Some(2));
    assert_eq!(&*driven.workflow.attempts[1].route, "messenger-b");

    let mut driven = DrivenWorkflow::by(messenger_then_sms(), vec![IDEMPOTENT]);
    driven
        .start()
        .rerouted(&[candidate("b", "p/main", IDEMPOTENT)])
        .answer(SendResult::Unknown(failure));
    assert!(matches!(driven.workflow.attempts[0].state, AttemptState::Unknown { .. }));
}

#[test]
fn routes_that_serve_as_they_did_change_nothing() {
    let same = [candidate("0", "p/main", PLAIN), candidate("new", "p/other", PLAIN)];
    let mut driven = DrivenWorkflow::of(plan(&[None]));
    for _ in 0..3 {
        let before = driven.journal.len();
        driven.rerouted(&same);
        assert_eq!(driven.journal.len(), before);
        driven.start();
        driven.rerouted(&same);
        driven.answer(SendResult::RetryLater { failure: failure(Fault::Provider), after_ms: None });
        driven.rerouted(&same).after(MINUTE);
    }
    assert_eq!(driven.started(), [("sms-0", "p/main"); 3]);
}

#[test]
fn a_place_on_a_route_that_does_not_serve_it_any_more_starts_nothing() {
    let mut driven = DrivenWorkflow::of(plan(&[None]));
    driven.routes = Offers(Vec::new());
    driven.start();
    assert_eq!(driven.started(), []);
    assert_eq!(driven.ended(), Some((EndState::Failed, Reason::NoRoute)));
}

#[test]
fn a_route_that_promises_something_else_now_is_planned_on_anew() {
    // Its calls would be repeated, and the provider of that name does not know our ids any more.
    for is_planned in [true, false] {
        let mut driven = DrivenWorkflow::by(plan(&[None]), vec![IDEMPOTENT]);
        if !is_planned {
            driven.throttled();
        }
        driven.rerouted(&[candidate("0", "p/main", PLAIN)]).unknown();
        assert_eq!(driven.workflow.attempts.len(), 2);
        assert_eq!(driven.workflow.attempts[1].properties, PLAIN);
        assert!(!driven.workflow.attempts[1].is_uncertain, "it is not repeated");
    }
}

#[test]
fn what_was_throttled_under_another_account_goes_on_under_the_one_that_there_is() {
    let mut driven = DrivenWorkflow::of(plan(&[None]));
    driven.throttled().rerouted(&[candidate("0", "p/other", PLAIN)]);
    driven.after(5 * MINUTE).accepted();
    assert_eq!(driven.started(), [("sms-0", "p/main"), ("sms-0", "p/other")]);
}

#[test]
fn what_may_be_out_is_repeated_under_its_own_account_and_by_no_other_route() {
    let cases: [(&[RouteCandidate], usize); 5] = [
        (&[candidate("0", "p/main", IDEMPOTENT)], 2),
        (&[candidate("0", "p/renamed", IDEMPOTENT)], 2),
        (&[candidate("0", "p/other", IDEMPOTENT)], 1),
        (&[candidate("b", "p/main", IDEMPOTENT)], 1),
        (&[candidate("0", "p/main", PLAIN), candidate("b", "p/main", IDEMPOTENT)], 1),
    ];
    for (routes, calls) in cases {
        let mut driven = DrivenWorkflow::by(messenger_then_sms(), vec![IDEMPOTENT]);
        driven.unknown().rerouted(routes).after(5000);
        if driven.workflow.wants_permit().is_some() {
            driven.accepted();
        }
        assert_eq!(driven.started().len(), calls, "{routes:?}");
        assert_eq!(driven.workflow.attempts.len(), 1, "{routes:?}");
        assert_eq!(driven.step(), Some(0), "its receipt is waited for");
    }
}

#[test]
fn what_may_be_out_is_sent_once_more_under_its_own_account_or_not_at_all() {
    let cases: [(&[RouteCandidate], usize); 4] = [
        (&[candidate("0", "p/main", PLAIN)], 2),
        (&[candidate("0", "p/renamed", PLAIN)], 2),
        (&[candidate("0", "p/other", PLAIN)], 1),
        (&[candidate("b", "p/main", PLAIN)], 1),
    ];
    for (routes, calls) in cases {
        let mut driven = DrivenWorkflow::of(plan(&[None]));
        driven.unknown().rerouted(routes).after(30_000);
        if driven.workflow.wants_permit().is_some() {
            driven.accepted();
        }
        assert_eq!(driven.started().len(), calls, "{routes:?}");
        // The first may still be told of.
        driven.update(1, Report::Reached(Status::Delivered));
        assert_eq!(driven.ended(), Some((EndState::Succeeded, Reason::ConditionMet)));

        let mut silent = DrivenWorkflow::of(plan(&[None]));
        silent.unknown().rerouted(routes).after(30_000).after(72 * 3_600_000);
        assert!(silent.ended().is_some(), "{routes:?}");
    }
}

fn any_offers() -> impl Strategy<Value = Vec<RouteCandidate>> {
    let account = prop::sample::select(&["p/main", "p/other", "p/renamed"][..]);
    let offered = (0..3_u8, account, prop::sample::select(&[PLAIN, IDEMPOTENT][..]));
    let offered = offered
        .prop_map(|(name, account, properties)| candidate(&name.to_string(), account, properties));
    prop::collection::vec(offered, 0..3)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 3000,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    })]

    /// Whatever the routes become between any two events: nothing starts but by a route that serves it at
    /// that moment, as it was promised; and after a call that may be out nothing of the step starts but by
    /// the same route under the same account.
    #[test]
    fn nothing_starts_but_by_a_route_that_serves_it(
        plan in any_plan(),
        routes in any_routes(),
        events in prop::collection::vec(
            (any_event(), 0..MINUTE, prop::option::weighted(0.2, any_offers())), 0..60,
        ),
    ) {
        let mut driven = DrivenWorkflow::by(plan, routes);
        // By which route and under which account a call of each step may be out.
        let mut out: Vec<(u8, Arc<str>, Arc<str>)> = Vec::new();
        for (event, pause, routes) in events {
            driven.pass(pause);
            if let Some(routes) = routes {
                driven.rerouted(&routes);
            }
            let before = driven.journal.len();
            driven.handle(event);
            for (_, fact) in &driven.journal[before..] {
                let Some(number) = fact.attempt() else { continue };
                let attempt = driven.workflow.attempt(number).unwrap();
                match fact {
                    Fact::AttemptStarted { account, .. } => {
                        let requirement = &driven.workflow.steps[usize::from(attempt.step)].requirement;
                        let offers = driven.routes.candidates(requirement);
                        let mut offers = offers.iter().filter(|it| it.route == attempt.route);
                        prop_assert!(offers.any(|it| (&it.account, it.properties) == (account, attempt.properties)));
                        for (_, route, under) in out.iter().filter(|(step, ..)| *step == attempt.step) {
                            prop_assert_eq!(route, &attempt.route);
                            prop_assert_eq!(driven.routes.current_account(under), account);
                        }
                    }
                    Fact::AttemptUnknown { .. } | Fact::AttemptRepeated { .. } => {
                        if let Some(account) = attempt.account.clone() {
                            out.push((attempt.step, Arc::clone(&attempt.route), account));
                        }
                    }
                    _ => {}
                }
            }
        }
    }
}
