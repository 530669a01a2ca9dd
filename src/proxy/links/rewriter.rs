//! Rewrites a body that comes in pieces, and keeps back only what the next piece decides.

use super::find::{Starts, Step, Text, cut_off};
use super::rule::{Hit, Rule};
use super::scope::Scope;

/// One body's rewriting.
pub(super) struct Rewriter {
    rule: Rule,
    scope: Scope,
    /// The end of what came, when it may be the beginning of something. Not longer than one address.
    held: Vec<u8>,
    hits: u64,
}

/// Where a text has something, and where what is at its end may become something.
enum Found {
    Hit(Hit),
    Cut(usize),
    Nothing,
}

/// Goes through one text from left to right.
struct Scan<'a> {
    rule: &'a Rule,
    text: Text<'a>,
    starts: Starts<'a>,
    from: usize,
}

impl<'a> Scan<'a> {
    fn new(rule: &'a Rule, bytes: &'a [u8], last: bool) -> Scan<'a> {
        Scan { rule, text: Text { bytes, last }, starts: Starts::new(bytes), from: 0 }
    }

    fn next(&mut self) -> Found {
        while let Some(start) = self.starts.next(self.from) {
            match self.rule.at(self.text, start) {
                Step::Yes(hit) => {
                    self.from = hit.end;
                    return Found::Hit(hit);
                }
                Step::More => return Found::Cut(start.at),
                Step::No => {}
            }
        }
        let cut = if self.text.last { None } else { cut_off(self.text.bytes, self.from) };
        cut.map_or(Found::Nothing, Found::Cut)
    }
}

/// How much of a piece is looked at to decide about what was kept back.
const STEP: usize = 512;

impl Rewriter {
    pub(super) fn new(rule: Rule, scope: Scope) -> Rewriter {
        Rewriter { rule, scope, held: Vec::new(), hits: 0 }
    }

    /// Whether anything was rewritten.
    pub(super) fn hit(&self) -> bool {
        self.hits > 0
    }

    /// How much is kept back.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    /// The next piece. Whether it goes on just as it is, and nothing before it; else what goes on was added to `out`.
    pub(super) fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) -> bool {
        let (hits, nothing_held) = (self.hits, self.held.is_empty());
        // What of the piece has gone to `out`, or is held.
        let (mut done, mut at) = (0, 0);
        while at < piece.len() {
            let run = self.scope.next(&piece[at..]);
            let end = at + run.length;
            if run.link {
                if !self.held.is_empty() {
                    at = self.go_on(piece, at, end, out);
                    done = at;
                }
                if at < end {
                    done = self.link(piece, at, end, done, out);
                }
            } else if !self.held.is_empty() {
                self.settle(out);
            }
            at = end;
        }
        if nothing_held && self.held.is_empty() && self.hits == hits {
            return true;
        }
        out.extend_from_slice(&piece[done..]);
        false
    }

    /// There are no more pieces.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        self.settle(out);
    }

    /// A part of a piece that links may be in, from where nothing is undecided.
    fn link(&mut self, piece: &[u8], from: usize, end: usize, mut done: usize, out: &mut Vec<u8>) -> usize {
        let text = &piece[from..end];
        // The run ends before the piece does: so does the value.
        let mut scan = Scan::new(&self.rule, text, end < piece.len());
        loop {
            match scan.next() {
                Found::Hit(hit) => {
                    self.hits += 1;
                    out.extend_from_slice(&piece[done..from + hit.start.at]);
                    self.rule.write(text, hit, out);
                    done = from + hit.end;
                }
                Found::Cut(at) => {
                    out.extend_from_slice(&piece[done..from + at]);
                    self.held.extend_from_slice(&text[at..]);
                    return end;
                }
                Found::Nothing => return done,
            }
        }
    }

    /// Decides about what is held with what follows it, `piece[at..end]`. How far that took it: what is behind is decided
    /// without what was held, or there is nothing.
    fn go_on(&mut self, piece: &[u8], mut at: usize, end: usize, out: &mut Vec<u8>) -> usize {
        while at < end {
            let before = self.held.len();
            let step = (end - at).min(STEP);
            self.held.extend_from_slice(&piece[at..at + step]);
            let decided = self.sift(before, at + step == end && end < piece.len(), out);
            if decided >= before {
                self.held.clear();
                return at + decided - before;
            }
            self.held.drain(..decided);
            at += step;
        }
        at
    }

    /// Writes what begins in the first bytes of what is held, as far as it is decided. How far that is.
    fn sift(&mut self, first: usize, last: bool, out: &mut Vec<u8>) -> usize {
        let mut scan = Scan::new(&self.rule, &self.held, last);
        let mut done = 0;
        while done < first {
            let (upto, hit) = match scan.next() {
                Found::Hit(hit) if hit.start.at < first => (hit.start.at, Some(hit)),
                Found::Cut(at) if at < first => (at, None),
                _ => (first, None),
            };
            out.extend_from_slice(&self.held[done..upto]);
            let Some(hit) = hit else { return upto };
            self.hits += 1;
            self.rule.write(&self.held, hit, out);
            done = hit.end;
        }
        done
    }

    /// The value has ended.
    fn settle(&mut self, out: &mut Vec<u8>) {
        self.sift(self.held.len(), true, out);
        self.held.clear();
    }
}
