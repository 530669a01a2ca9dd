//! What is known of one connection from outside: what it is doing, since when, and what it was told to do.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use super::{Limits, Tunnel};
use crate::alarm::Alarm;

/// An idle connection gives its buffers back after this long.
pub const PARK: Duration = Duration::from_millis(50);

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
            self.alarm.set(self.limits.header_read);
        }
    }

    /// A request's head is there. The request lasts until what is given back is dropped.
    pub fn begin(self: &Arc<Vitals>) -> Ongoing {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.enter(Phase::Busy);
        self.alarm.clear();
        Ongoing(self.clone())
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
        self.alarm.set(self.limits.body);
    }

    /// It takes something again.
    pub fn unblocked(&self) {
        match self.phase() {
            Phase::Busy => self.alarm.clear(),
            Phase::Idle => self.rest(),
            Phase::Head => self.alarm.set(self.limits.header_read),
        }
    }

    /// What it was told.
    pub fn order(&self) -> Order {
        match self.order.load(Ordering::Acquire) {
            0 => Order::None,
            1 => Order::Drain,
            _ => Order::Abort,
        }
    }

    /// Tells it.
    pub fn tell(&self, order: Order) {
        self.order.fetch_max(order as u8, Ordering::AcqRel);
        self.alarm.wake();
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub struct Ongoing(Arc<Vitals>);

impl Drop for Ongoing {
    fn drop(&mut self) {
        if self.0.requests.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.rest();
        }
    }
}

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
