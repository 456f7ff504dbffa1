//! Properties that hold whatever comes in whatever order.

use proptest::{prelude::*, test_runner::FileFailurePersistence};

use super::{any::*, *};

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 3000,
        // Found cases are kept beside this file, and tried first.
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    })]

    /// Whatever comes in whatever order: every invariant holds after every event, the end is
    /// final, a repeat changes nothing, and the journal replayed gives the same state.
    #[test]
    fn any_order_of_anything_keeps_every_promise(
        plan in any_plan(),
        routes in any_routes(),
        events in prop::collection::vec((any_event(), 0..4 * MINUTE, any_step()), 0..60),
    ) {
        let mut driven = DrivenWorkflow::by(plan, routes);
        for (event, pause, step) in events {
            driven.now.wall = UnixMillis(driven.now.wall.0.saturating_add_signed(step));
            driven.pass(pause);
            let (end, sequence) = (driven.ended(), driven.workflow.sequence);
            let starts = |driven: &DrivenWorkflow| driven.workflow.attempts.iter().map(|a| u32::from(a.calls)).sum::<u32>();
            let before = starts(&driven);
            driven.handle(event.clone());
            if end.is_some() {
                prop_assert_eq!(driven.ended(), end, "an end is final");
                prop_assert_eq!(starts(&driven), before, "nothing starts after the end");
            }
            if let Some(until) = driven.plan.valid_until && driven.now.wall > until {
                prop_assert_eq!(starts(&driven), before, "nothing starts after valid_until");
            }
            prop_assert!(driven.workflow.sequence >= sequence);
            if !matches!(event, Event::PermitGranted { .. }) {
                prop_assert_eq!(driven.handle(event), 0, "a repeat changes nothing");
            }
        }
        let mut replayed = fresh(&driven.plan);
        for (at, fact) in &driven.journal {
            replayed.apply(*at, fact);
        }
        prop_assert_eq!(&replayed, &driven.workflow);
    }

    /// Left alone with a provider that always answers, every workflow ends, and no deadline that
    /// has passed is left standing.
    #[test]
    fn every_workflow_ends(
        plan in any_plan(),
        routes in any_routes(),
        answers in prop::collection::vec(any_answer(), 1..20),
    ) {
        let mut driven = DrivenWorkflow::by(plan, routes);
        let mut answers = answers.into_iter().cycle();
        for _ in 0..5000 {
            if driven.ended().is_some() {
                break;
            }
            if driven.workflow.wants_permit().is_some() {
                driven.start();
                if driven.ended().is_none() && !driven.workflow.unanswered().is_empty() {
                    let answer = answers.next().expect("endless");
                    driven.answer(answer);
                }
                continue;
            }
            let deadline = driven.workflow.deadlines().next(driven.now).expect("it waits for something");
            prop_assert!(deadline.at > driven.now.wall, "{deadline:?} was left standing");
            let wait = deadline.at.0 - driven.now.wall.0;
            driven.after(wait);
        }
        prop_assert!(driven.ended().is_some(), "{:?}", driven.workflow);
    }

    /// Two lives of one plan, told the same at the same engine times; in one of them somebody sets the
    /// wall clock now and then. Without appointments nobody can tell them apart.
    #[test]
    fn a_wall_clock_that_is_set_moves_no_duration(
        plan in any_plan(),
        routes in any_routes(),
        events in prop::collection::vec((any_event(), 0..4 * MINUTE, any_step()), 0..60),
    ) {
        let plan = Plan { send_at: None, valid_until: None, ..plan };
        let (mut steady, mut set) = (DrivenWorkflow::by(plan.clone(), routes.clone()), DrivenWorkflow::by(plan, routes));
        for (event, pause, step) in events {
            steady.pass(pause);
            set.pass(pause);
            set.now.wall = UnixMillis(set.now.wall.0.saturating_add_signed(step));
            prop_assert_eq!(steady.handle(event.clone()), set.handle(event));
            prop_assert_eq!(steady.workflow.deadlines(), set.workflow.deadlines());
        }
        let told = |driven: &DrivenWorkflow| -> Vec<_> {
            driven.journal.iter().map(|(at, fact)| (at.engine, fact.clone())).collect()
        };
        prop_assert_eq!(told(&steady), told(&set));
    }

    /// Whatever the wall clock does: before it shows `send_at` nothing is planned, when it does
    /// something is, and once it shows more than `valid_until` nothing starts.
    #[test]
    fn appointments_are_kept_by_the_wall_clock(
        send_in in 0..90 * MINUTE,
        valid_for in 0..60 * MINUTE,
        moves in prop::collection::vec((0..20 * MINUTE, any_step()), 1..40),
    ) {
        let mut plan = messenger_then_sms();
        let (send_at, valid_until) = (START + send_in, START + send_in + valid_for);
        (plan.send_at, plan.valid_until) = (Some(UnixMillis(send_at)), Some(UnixMillis(valid_until)));
        let mut driven = DrivenWorkflow::of(plan);
        for (pause, step) in moves {
            let was_scheduled = driven.workflow.phase == Phase::Scheduled;
            driven.after(pause).set_wall(step);
            let wall = driven.now.wall.0;
            let calls = driven.workflow.attempts.iter().map(|attempt| attempt.calls).sum::<u16>();
            prop_assert!(wall < send_at || driven.workflow.phase != Phase::Scheduled);
            if was_scheduled && driven.workflow.phase != Phase::Scheduled {
                // Either before the clock was set or after it, it showed that time.
                prop_assert!(wall.max(wall.saturating_add_signed(-step)) >= send_at);
            }
            if let Some(attempt) = driven.workflow.wants_permit() {
                driven.handle(Event::PermitGranted { attempt });
                let now = driven.workflow.attempts.iter().map(|attempt| attempt.calls).sum::<u16>();
                prop_assert_eq!(now > calls, wall <= valid_until, "{} and {}", wall, valid_until);
                driven.answer(SendResult::RetryLater { failure: failure(Fault::Recipient), after_ms: None });
            }
        }
    }
}
