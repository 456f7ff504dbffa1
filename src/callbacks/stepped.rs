//! Callbacks made step by step: the followers without the tasks that run them, and nothing is delivered.

use std::sync::Arc;

use super::{
    CallbackContext, CallbackOptions, CallbackQueries, callback_store::CallbackStore,
    follower::JournalFollower, handoff::HandoffBuffer, inbound_follower::InboundFollower,
};
use crate::store::StoreError;

/// Follows the journal, and what persons write, when it is told to. Public, so that simulated services make callbacks as real ones do.
pub struct SteppedCallbacks {
    store: Arc<CallbackStore>,
    follower: JournalFollower,
    inbound_follower: InboundFollower,
}

impl SteppedCallbacks {
    /// Takes up what the last life of the store left.
    ///
    /// # Errors
    /// If the store failed.
    pub fn open(
        context: CallbackContext,
        options: CallbackOptions,
    ) -> Result<SteppedCallbacks, StoreError> {
        let feed = Arc::clone(&context.feed);
        let store = Arc::new(CallbackStore::open(context, options)?);
        let handoff = Arc::new(HandoffBuffer::new());
        let follower = JournalFollower::new(Arc::clone(&store), Arc::clone(&handoff))?;
        let inbound_follower = InboundFollower::new(Arc::clone(&store))?;
        feed.on_commit(Box::new(move |rows, with_receiver| handoff.push(rows, with_receiver)));
        Ok(SteppedCallbacks { store, follower, inbound_follower })
    }

    /// Makes the callbacks of all that is durable by now.
    ///
    /// # Errors
    /// If the store failed: nothing more is to be asked of it.
    pub fn step(&mut self) -> Result<(), StoreError> {
        self.follower.catch_up()?;
        self.inbound_follower.catch_up()
    }

    /// A stop as it should be: the next life goes on from here.
    ///
    /// # Errors
    /// If the store failed: the next life looks at some rows and messages again.
    pub fn stop(mut self) -> Result<(), StoreError> {
        self.follower.save_cursor()?;
        self.inbound_follower.save_position()
    }

    /// What was made, and not delivered.
    pub fn queries(&self) -> CallbackQueries {
        CallbackQueries::new(Arc::clone(&self.store))
    }
}

impl std::fmt::Debug for SteppedCallbacks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SteppedCallbacks")
    }
}
