//! What is promised, by name; each is a property of the model.

/// Something that must hold on every path. The first eleven are [`dispatch::machine::check`]'s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Promise {
    M1,
    M2,
    M3,
    M4,
    M5,
    M6,
    M7,
    M8,
    M9,
    M10,
    M11,
    NoStartAfterTheEnd,
    OnlyTheRunningStepSends,
    NoStartAfterValidUntil,
    OneIdOneMessage,
    DoublesAreCounted,
    StepsInOrder,
    EndIsFinal,
    ReplayIsTheState,
    NeverEarly,
    ClockNeverRestarts,
    SuccessIsTold,
    SuccessIsKept,
    AskedBackOnce,
    AskedBackInTime,
    NextWaitsForTheRecall,
    AnswerIsKept,
    NothingKeptOfTheErased,
}

/// Every promise with its name.
pub const PROMISES: [(Promise, &str); 28] = [
    (Promise::M1, "M1 exactly the running step is active"),
    (Promise::M2, "M2 earlier steps are decided"),
    (Promise::M3, "M3 at most one attempt waits for or holds a place on a route"),
    (Promise::M4, "M4 an attempt that was never STARTED has touched nothing"),
    (Promise::M5, "M5 a step is sent at most twice after unknown outcomes"),
    (Promise::M6, "M6 a running workflow has something to wait for"),
    (Promise::M7, "M7 a met step ended the workflow, unless late success continues"),
    (Promise::M8, "M8 a step's status is the highest of its attempts'"),
    (Promise::M9, "M9 a condition clock runs if an attempt was accepted or is unknown"),
    (Promise::M10, "M10 a message in parts is as far as its last part"),
    (Promise::M11, "M11 nothing that is open was erased"),
    (Promise::NoStartAfterTheEnd, "nothing starts after the end, and so after a cancel"),
    (Promise::OnlyTheRunningStepSends, "no call is made for a step that is not running"),
    (Promise::NoStartAfterValidUntil, "nothing starts after valid_until"),
    (Promise::OneIdOneMessage, "an attempt's id never makes two messages"),
    (Promise::DoublesAreCounted, "no second message of a step that was not counted beforehand"),
    (Promise::StepsInOrder, "a step starts only after the one before it failed or expired"),
    (Promise::EndIsFinal, "an ended workflow stays as it ended"),
    (Promise::ReplayIsTheState, "the facts replayed give the state"),
    (Promise::NeverEarly, "a step expires no sooner than its time after the first acceptance"),
    (Promise::ClockNeverRestarts, "a step's time ends no later than it was set to"),
    (Promise::SuccessIsTold, "success is told by a provider, never guessed"),
    (Promise::SuccessIsKept, "what reached its condition is a success"),
    (Promise::AskedBackOnce, "a message is asked back once"),
    (Promise::AskedBackInTime, "what is asked back had its time, and what had it is asked back"),
    (Promise::NextWaitsForTheRecall, "nothing goes out while a message is asked back"),
    (
        Promise::AnswerIsKept,
        "an accepted attempt whose answer told an id is known by it, and one that was accepted before is where it was",
    ),
    (
        Promise::NothingKeptOfTheErased,
        "behind an erasure nothing is kept but that a call which was out came back, without an id",
    ),
];

/// A set of promises: those that were broken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Broken(u32);

impl Broken {
    pub fn add_unless(&mut self, holds: bool, promise: Promise) {
        self.0 |= u32::from(!holds) << promise as u8;
    }

    pub fn has(self, promise: Promise) -> bool {
        self.0 & (1 << promise as u8) != 0
    }
}
