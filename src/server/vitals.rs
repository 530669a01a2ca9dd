//! What is known of one connection from outside: what it is doing, since when, and what it was told to do.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use super::{Limits, Tunnel};
use crate::alarm::Alarm;

/// An idle connection gives its buffers back after this long.
pub const PARK: Duration = Duration::from_millis(50);

/// A request that is on its way when a drain begins may still come.
pub const LAST_HEAD: Duration = Duration::from_secs(1);

/// Requests of a connection that may be given up before anybody looks at how many they are.
const GIVEN_UP: u32 = 100;

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// A request's head is being read, or the connection is new.
    Head,
    /// A request is being answered.
    Busy,
    /// Between requests.
    Idle,
}

/// What a connection was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Order {
    /// Go on.
    None,
    /// Answer what comes, but let each answer be the connection's last.
    Leave,
    /// Finish what is in flight.
    Drain,
    /// End now.
    Abort,
}

/// One connection.
#[derive(Debug)]
pub struct Vitals {
    /// The limits it runs under.
    pub limits: Arc<Limits>,
    /// The limit that is running: for the head, for being idle, or for a caller that takes nothing.
    pub alarm: Arc<Alarm>,
    /// HTTP/2: several requests at once.
    pub multiplexed: AtomicBool,
    /// The last request was HTTP/1.0: the end of the connection may be the end of the answer.
    pub close_delimited: AtomicBool,
    /// A request's body was not read to its end.
    pub unread: AtomicBool,
    /// … and never will be.
    pub abandoned: AtomicBool,
    /// The caller sends nothing more.
    pub ended: AtomicBool,
    /// hyper waits in vain for another request: the gate passes nothing more.
    pub refused: AtomicBool,
    /// The caller takes nothing of what is written.
    stuck: AtomicBool,
    /// Since when each answer of an HTTP/2 connection waits for its caller.
    answers: Mutex<Vec<Arc<Waiting>>>,
    /// Requests that the caller gave up before they were answered, and those that were answered.
    given_up: AtomicU32,
    answered: AtomicU32,
    /// Nothing waits to be written.
    pub flushed: AtomicBool,
    /// What the connection becomes once hyper is done with it.
    pub tunnel: Mutex<Option<Tunnel>>,
    phase: AtomicU8,
    order: AtomicU8,
    requests: AtomicU32,
}

impl Vitals {
    /// A new connection, which has to come to its first request in time.
    pub fn new(limits: Arc<Limits>, alarm: Arc<Alarm>) -> Vitals {
        alarm.set(limits.header_read);
        Vitals {
            limits,
            alarm,
            multiplexed: AtomicBool::new(false),
            close_delimited: AtomicBool::new(false),
            unread: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            refused: AtomicBool::new(false),
            stuck: AtomicBool::new(false),
            answers: Mutex::default(),
            given_up: AtomicU32::new(0),
            answered: AtomicU32::new(0),
            flushed: AtomicBool::new(true),
            tunnel: Mutex::default(),
            phase: AtomicU8::new(Phase::Head as u8),
            order: AtomicU8::new(Order::None as u8),
            requests: AtomicU32::new(0),
        }
    }

    /// What it is doing.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Head,
            1 => Phase::Busy,
            _ => Phase::Idle,
        }
    }

    fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// Bytes came in.
    pub fn received(&self) {
        // Over HTTP/2 much may come that is no request.
        if self.phase() == Phase::Idle && !self.multiplexed.load(Ordering::Relaxed) {
            self.enter(Phase::Head);
            let limit = self.limits.header_read;
            self.alarm.set(if self.order() == Order::Drain { LAST_HEAD.min(limit) } else { limit });
        }
    }

    /// A request's head is there. The request lasts until what is given back is dropped.
    pub fn begin(self: &Arc<Vitals>) -> Ongoing {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.enter(Phase::Busy);
        self.watch();
        Ongoing { vitals: self.clone(), answered: false }
    }

    /// While requests are answered: over HTTP/1 nothing limits that but what hyper tells of the socket. Over HTTP/2 a caller can
    /// refuse to take one answer, which nobody is told.
    fn watch(&self) {
        match self.multiplexed.load(Ordering::Relaxed) {
            true => self.alarm.set(self.limits.body),
            false => self.alarm.clear(),
        }
    }

    /// The alarm of an HTTP/2 connection rang while requests are answered: whether that is its end.
    pub fn overdue(&self) -> bool {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let overdue = |since: &Waiting| matches!(since.0.load(Ordering::Relaxed), at if at != 0 && self.alarm.since(at, self.limits.body));
        if self.stuck.load(Ordering::Relaxed) || answers.iter().any(|since| overdue(since)) {
            return true;
        }
        self.alarm.set(self.limits.body);
        false
    }

    /// Whether the caller mostly asks in order to give up: each time a connection to upstream is lost.
    pub fn is_abused(&self) -> bool {
        let given_up = self.given_up.load(Ordering::Relaxed);
        given_up > GIVEN_UP && given_up > self.answered.load(Ordering::Relaxed)
    }

    /// The connection rests from now on: the next limit is for that.
    pub fn rest(&self) {
        self.enter(Phase::Idle);
        let multiplexed = self.multiplexed.load(Ordering::Relaxed);
        self.alarm.set(match self.flushed.load(Ordering::Relaxed) {
            // The end of the answer still waits for a caller that takes its time.
            false => self.limits.body,
            true if multiplexed => self.limits.idle,
            true => PARK.min(self.limits.idle),
        });
    }

    /// A caller takes nothing of its answer.
    pub fn blocked(&self) {
        self.stuck.store(true, Ordering::Relaxed);
        self.alarm.set(self.limits.body);
    }

    /// It takes something again.
    pub fn unblocked(&self) {
        self.stuck.store(false, Ordering::Relaxed);
        match self.phase() {
            Phase::Busy => self.watch(),
            Phase::Idle => self.rest(),
            Phase::Head => self.alarm.set(self.limits.header_read),
        }
    }

    /// What it was told.
    pub fn order(&self) -> Order {
        match self.order.load(Ordering::Acquire) {
            0 => Order::None,
            1 => Order::Leave,
            2 => Order::Drain,
            _ => Order::Abort,
        }
    }

    /// Whether the time for what has not come yet is over; during a drain, which `hurried` remembers, it may only still take
    /// [`LAST_HEAD`].
    pub fn hurries(&self, hurried: &mut bool) -> bool {
        match self.order() {
            Order::Abort => return true,
            Order::Drain if !std::mem::replace(hurried, true) => self.alarm.set(LAST_HEAD.min(self.limits.header_read)),
            _ => {}
        }
        self.alarm.rang()
    }

    /// Tells it.
    pub fn tell(&self, order: Order) {
        self.order.fetch_max(order as u8, Ordering::AcqRel);
        self.alarm.wake();
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub struct Ongoing {
    vitals: Arc<Vitals>,
    answered: bool,
}

impl Ongoing {
    /// Its answer has begun.
    pub fn answered(&mut self) {
        self.answered = true;
        self.vitals.answered.fetch_add(1, Ordering::Relaxed);
    }

    /// What tells how long an answer waits for its caller, where the socket does not.
    pub fn waiting(&self) -> Option<Arc<Waiting>> {
        self.vitals.multiplexed.load(Ordering::Relaxed).then(|| {
            let waiting = Arc::new(Waiting(AtomicU32::new(self.vitals.alarm.now())));
            self.vitals.answers.lock().unwrap_or_else(PoisonError::into_inner).push(waiting.clone());
            waiting
        })
    }

    /// The caller has to take what there is, or not.
    pub fn waits(&self, waiting: &Waiting, waits: bool) {
        waiting.0.store(if waits { self.vitals.alarm.now() } else { 0 }, Ordering::Relaxed);
    }

    /// The answer is over.
    pub fn done(&self, waiting: &Arc<Waiting>) {
        let mut answers = self.vitals.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = answers.iter().position(|other| Arc::ptr_eq(other, waiting)) {
            answers.swap_remove(at);
        }
    }
}

impl Drop for Ongoing {
    fn drop(&mut self) {
        if !self.answered {
            self.vitals.given_up.fetch_add(1, Ordering::Relaxed);
        }
        if self.vitals.requests.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.vitals.rest();
        }
    }
}

/// Since when an answer waits for its caller; 0: it does not.
#[derive(Debug)]
pub struct Waiting(AtomicU32);

/// All connections of a server, to tell them something.
#[derive(Debug, Default)]
pub struct Registry(Mutex<Register>);

#[derive(Debug, Default)]
struct Register {
    connections: Vec<Weak<Vitals>>,
    /// How many may stand there before the dead are cleared out.
    room: usize,
    order: Option<Order>,
}

impl Registry {
    /// Another connection; it is told what all were told.
    pub fn add(&self, vitals: &Arc<Vitals>) {
        let mut register = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if register.connections.len() >= register.room.max(64) {
            register.connections.retain(|connection| connection.strong_count() > 0);
            register.room = register.connections.len() * 2;
        }
        register.connections.push(Arc::downgrade(vitals));
        if let Some(order) = register.order {
            vitals.tell(order);
        }
    }

    /// Tells all of them, and those that come later.
    pub fn tell(&self, order: Order) {
        let connections = {
            let mut register = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            register.order = Some(order);
            register.connections.clone()
        };
        connections.iter().filter_map(Weak::upgrade).for_each(|connection| connection.tell(order));
    }
}
