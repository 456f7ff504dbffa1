//! The promises that a run is judged by, each one sentence.

/// A promise: its name, and what should have held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promise(pub &'static str, pub &'static str);

macro_rules! rules {
    ($($constant:ident = $name:literal $sentence:literal;)*) => {
        $(#[doc = $sentence] pub const $constant: Promise = Promise($name, $sentence);)*
    };
}

rules! {
    ACKED = "J1" "what was acknowledged is in the journal";
    PROMISE = "J2" "nothing is acknowledged before it is durable";
    DURABLE = "J3" "after a death everything is exactly as it was last durable";
    CANCELS = "J4" "after an acknowledged cancel nothing starts, and the answer names what may be out";
    STARTED_FIRST = "J5" "a call leaves once, and only after its STARTED mark is durable";
    DOUBLES = "J6" "a step's message goes out twice only if the timeline counts a possible double";
    HONOURED = "J7" "where the provider honours our id an attempt is one message";
    NO_REPEAT = "J8" "after an unknown outcome nothing is sent for the step but under the same id in its time, or as one counted double by the same route";
    ORDER = "J9" "a step starts once, in order, and only after the one before it failed or expired";
    EARLY = "J10" "no timer fires early";
    LATE = "J11" "no timer is forgotten: each fires in the first batch that may";
    GRACE = "J12" "what awaits a receipt and came due while the service was down is held for the grace";
    CLOCKS = "J13" "nothing starts after valid_until, nor after send_within before any acceptance";
    TRUE = "J14" "every fact has its cause: an answer, a receipt, a cancel that was handed in, or its time";
    HEARD = "J15" "whatever was handed in and says something new is on the timeline";
    LADDER = "J16" "a message only climbs";
    OVER = "J17" "after the end nothing changes but what is recorded as late";
    REASONS = "J18" "the end and every failover have the reason that the timeline shows";
    MET = "J19" "a condition that was reached in time, or late under STOP, is success at once";
    REQUESTS = "J20" "one request id and one plan are one workflow; another plan is refused";
    ENDS = "J21" "every workflow comes to an end";
    JOURNAL = "J22" "the journal's cursors and times only grow, and a workflow's facts are numbered without a gap";
    READERS = "J23" "a reader misses nothing, sees nothing twice and nothing that is later gone";
    PLACES = "J24" "no more calls are out on a route than it allows";
    MACHINE = "J25" "the machine's own invariants hold";
    SPIN = "J26" "the writer runs no batch after batch without getting anywhere";
    FORGOTTEN = "J27" "what is past retention is forgotten";
    DRAINED = "J28" "a drain is told only when no call is out, and nothing starts meanwhile";
    STORE = "J29" "the store takes every batch";
    RECOVERED = "J30" "after recovery no call of an earlier life is still waited for";
    PANIC = "J31" "nothing panics";
    RECORDS = "J32" "what a call needs can be read when it leaves";
    IDLE_PLACE = "J33" "nobody waits for a place on a route that has one free";
    AT_ONCE = "J34" "a step that nothing can save any more is left at once";
    RETRIES = "J35" "a retry waits for its time and for what the provider asked";
    ELAPSED = "J36" "engine time goes on by what really passed, over a boot by what a wall clock that nobody set says, and never back";
    TWICE_THE_GRACE = "J37" "what awaits a receipt is held for the grace, and by lives that die within it for twice that at most";
    FAIR = "J38" "who waits for a place is passed over no more often than priorities, their reserve, and tenants' turns allow, and never by who came later to its own line";
    NAPS = "J39" "the writer sleeps for a second at most, and never past what is due: a wall clock that was set, and a machine that wakes up, are noticed";
    NOTED = "J40" "how the clocks stand is noted every ten seconds";
    TOLD = "J41" "whoever follows hears of every row once it is durable";
    BACKUP = "J42" "a backup is a moment: of every workflow all that had happened by then and nothing later, whatever goes on meanwhile";
    RECALLS = "J44" "a message is asked back once, after its mark is durable, when its time is over and another is to follow; and nothing goes out until that is answered or its wait is over";
    NAMED = "J45" "what an answer tells to be a message's id is on the timeline, and receipts and recalls find it by that, whatever was known of it before";
    OPTED_OUT = "J46" "no call begins after an opt-out that is about it was acknowledged, unless it was lifted, and none is held back without one";
    PARTS = "J47" "a message in parts has reached what all its parts have, and failed when one has";
    COVERED = "J48" "what is told of a conversation counts for all that was accepted there by a call that began by its time, as far as the clocks could be compared, and for nothing else";
    CALLBACKS = "J49" "of each fact that means something to whoever asked one callback is made, and of no other, whatever dies when";
    ERASED = "J50" "of what was erased nothing is kept from then on, nothing leaves once its key is gone, and by age no key goes but of what ended long enough ago";
    STREAMS = "J51" "a stream tells each event of what it follows once and in order; what it missed it says, naming the oldest that is left; it ends at the end, and never waits while something untold is durable";
    INBOUND = "J52" "what a person wrote is kept once however often it is told, and while it is kept one callback tells it to the application that hears of it, whatever dies when";
    ROUTES = "J43" "nobody waits for a route that is gone or another one now, and what goes out goes by the channel of its step, and under its account if it may be out already";
}
