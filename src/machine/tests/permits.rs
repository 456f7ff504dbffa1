//! Which of several routes is taken, and what becomes of an attempt that finds no place.

use super::*;

/// Routes, and how long a newcomer would wait for each.
struct Full(Vec<u64>);

impl Router for Full {
    fn candidates(&self, requirement: &RouteRequirement) -> Vec<RouteCandidate> {
        Offers::of(&vec![PLAIN; self.0.len()]).candidates(requirement)
    }

    fn wait_ms(&self, route: &Arc<str>, requirement: &RouteRequirement, _: Priority) -> u64 {
        let at =
            self.candidates(requirement).iter().position(|candidate| candidate.route == *route);
        at.map_or(0, |at| self.0[at])
    }
}

fn taken(waits: &[u64]) -> Option<Arc<str>> {
    let mut workflow = fresh(&plan(&[None]));
    create(&mut workflow, Moment::both(UnixMillis(START)), &Full(waits.to_vec()));
    workflow.attempt(1).map(|attempt| Arc::clone(&attempt.route))
}

#[test]
fn the_first_route_that_has_a_place_in_time_is_taken_and_else_the_one_that_has_it_soonest() {
    let within = PolicySnapshot::default().last_send_within_ms;
    let cases: [(&[u64], &str); 4] = [
        (&[within, 0], "sms-0"),
        (&[within + 1, within, 0], "sms-1"),
        (&[within + 3, within + 2, within + 2], "sms-1"),
        (&[within + 1], "sms-0"),
    ];
    for (waits, route) in cases {
        assert_eq!(taken(waits).as_deref(), Some(route), "{waits:?}");
    }
    assert_eq!(taken(&[]), None);
}

#[test]
fn what_finds_no_place_in_time_says_whether_its_route_was_full() {
    let wake = |while_down| {
        // The service was up all the time, or has only just begun.
        let up_since = if while_down { UnixMillis(u64::MAX) } else { UnixMillis(0) };
        Event::Wake { up_since, hold: false }
    };
    let (one, none) = (vec![PLAIN], Vec::new());
    let cases = [
        (wake(false), &one, Reason::RouteSaturated),
        (wake(true), &one, Reason::NotSentInTime),
        (wake(false), &none, Reason::NotSentInTime),
    ];
    for (event, routes, reason) in cases {
        let mut driven = DrivenWorkflow::of(plan(&[None]));
        driven.pass(PolicySnapshot::default().last_send_within_ms);
        driven.routes = Offers::of(routes);
        driven.handle(event.clone());
        assert_eq!(driven.ended(), Some((EndState::Failed, reason)), "{event:?}");
    }
}
