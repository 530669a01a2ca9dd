//! A waker for things that are driven inside somebody else's task.
//!
//! hyper's connection and its user talk through channels, and each message wakes the other side. When both are polled by
//! the same task, such a wake-up would only make the runtime poll the whole task again. A [`Relay`] turns it into a note
//! ("look once more before you leave"), and passes on only those that come from outside: the socket, a timer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// How often in a row the parts may wake each other before the runtime gets its turn.
const ROUNDS: usize = 32;

/// The waker, and whom it wakes.
#[derive(Debug, Default)]
pub struct Relay {
    user: Mutex<Option<Waker>>,
    inside: AtomicBool,
    again: AtomicBool,
}

impl Relay {
    /// Polls `parts` on behalf of the task behind `cx` until they are ready, or wait for something outside.
    pub fn poll<T>(relay: &Arc<Relay>, inner: &Waker, cx: &mut Context<'_>, mut parts: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        {
            let mut user = relay.user.lock().unwrap_or_else(PoisonError::into_inner);
            match &mut *user {
                Some(user) => user.clone_from(cx.waker()),
                None => *user = Some(cx.waker().clone()),
            }
        }
        relay.inside.store(true, Ordering::SeqCst);
        let mut polled = Poll::Pending;
        for _ in 0..ROUNDS {
            relay.again.store(false, Ordering::Relaxed);
            polled = parts(&mut Context::from_waker(inner));
            if polled.is_ready() || !relay.again.load(Ordering::Relaxed) {
                break;
            }
        }
        // The order matters: a wake-up from another thread either sees that we left, or we see its note.
        relay.inside.store(false, Ordering::SeqCst);
        if polled.is_pending() && relay.again.load(Ordering::SeqCst) {
            cx.waker().wake_by_ref();
        }
        polled
    }
}

impl Wake for Relay {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.again.store(true, Ordering::SeqCst);
        if !self.inside.load(Ordering::SeqCst) {
            let user = self.user.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some(user) = user {
                user.wake();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_wake_up_from_inside_is_another_round_and_one_from_outside_wakes_the_task() {
        let (relay, task) = (Arc::new(Relay::default()), Arc::new(Count::default()));
        let (inner, outer) = (Waker::from(relay.clone()), Waker::from(task.clone()));
        let mut rounds = 0;
        let polled: Poll<()> = Relay::poll(&relay, &inner, &mut Context::from_waker(&outer), |cx| {
            rounds += 1;
            if rounds < 3 {
                cx.waker().wake_by_ref();
            }
            Poll::Pending
        });
        assert_eq!((polled, rounds, task.0.load(Ordering::SeqCst)), (Poll::Pending, 3, 0));
        inner.wake_by_ref();
        assert_eq!(task.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn parts_that_never_come_to_rest_give_the_runtime_its_turn() {
        let (relay, task) = (Arc::new(Relay::default()), Arc::new(Count::default()));
        let (inner, outer) = (Waker::from(relay.clone()), Waker::from(task.clone()));
        let _: Poll<()> = Relay::poll(&relay, &inner, &mut Context::from_waker(&outer), |cx| {
            cx.waker().wake_by_ref();
            Poll::Pending
        });
        // The last round's note was taken; the wake-up that stands for it must not be lost.
        assert_eq!(task.0.load(Ordering::SeqCst), 1);
    }
}
