//! Content codings: decoding and encoding in pieces, with bounded memory whatever is in them.

use std::io::{self, Write};

use brotli::enc::StandardAlloc;
use brotli::{BrotliDecompressStream, BrotliResult, BrotliState, CompressorWriter};
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use flate2::{Compression, Decompress, FlushDecompress, Status};

/// A coding that bodies are rewritten through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Identity,
    Gzip,
    /// zlib's format, RFC 9110 §8.4.1.2; some servers send it without its frame.
    Deflate,
    Brotli,
}

impl Coding {
    /// The coding of this name.
    pub(crate) fn named(name: &[u8]) -> Option<Coding> {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("identity") {
            Some(Coding::Identity)
        } else if is("gzip") || is("x-gzip") {
            Some(Coding::Gzip)
        } else if is("deflate") {
            Some(Coding::Deflate)
        } else {
            is("br").then_some(Coding::Brotli)
        }
    }
}

/// A body is not in its coding, or ends before its coding does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Undecodable {
    #[error("the body is not in the coding that its Content-Encoding names")]
    Corrupt,
    #[error("the body ends in the middle of its content coding")]
    Truncated,
}

/// Takes a coding off.
pub(crate) struct Decoder {
    format: Format,
    /// Whether the coding has come to its end.
    ended: bool,
    /// Whether anything came.
    begun: bool,
    /// Whether it is `deflate` without its frame.
    bare: bool,
    /// Whether what is no member has come behind the last one: then there is none behind it, wherever the pieces begin.
    overlooks: bool,
}

enum Format {
    Gzip(Box<Decompress>),
    Deflate(Box<Decompress>),
    /// Whether there is zlib's frame is seen in the first two bytes.
    DeflateUnseen(Vec<u8>),
    Brotli(Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>),
}

/// The largest window, 32 KiB.
const WINDOW: u8 = 15;

impl Decoder {
    /// For any but the identity.
    pub(crate) fn new(coding: Coding) -> Option<Decoder> {
        let format = match coding {
            Coding::Identity => return None,
            Coding::Gzip => Format::Gzip(Box::new(Decompress::new_gzip(WINDOW))),
            Coding::Deflate => Format::DeflateUnseen(Vec::new()),
            Coding::Brotli => {
                let alloc = StandardAlloc::default;
                Format::Brotli(Box::new(BrotliState::new_strict(alloc(), alloc(), alloc())))
            }
        };
        Some(Decoder { format, ended: false, begun: false, bare: false, overlooks: false })
    }

    /// Takes from the front of `input`, and adds to `out` up to `most` bytes. It has come to rest when nothing was added and
    /// `input` is empty.
    pub(crate) fn decode(&mut self, input: &mut &[u8], out: &mut Vec<u8>, most: usize) -> Result<(), Undecodable> {
        self.begun |= !input.is_empty();
        if let Format::DeflateUnseen(seen) = &mut self.format {
            while seen.len() < 2 {
                let Some((&byte, rest)) = input.split_first() else { return Ok(()) };
                seen.push(byte);
                *input = rest;
            }
            let framed = seen[0] & 0x0f == 8 && u16::from_be_bytes([seen[0], seen[1]]).is_multiple_of(31);
            let seen = std::mem::take(seen);
            self.bare = !framed;
            self.format = Format::Deflate(Box::new(Decompress::new(framed)));
            self.step(&mut &seen[..], out, most)?;
        }
        self.step(input, out, most)
    }

    fn step(&mut self, input: &mut &[u8], out: &mut Vec<u8>, most: usize) -> Result<(), Undecodable> {
        if self.ended {
            match &mut self.format {
                _ if input.is_empty() => return Ok(()),
                // Several gzip members after one another are one body. Readers of gzip overlook what is no member.
                Format::Gzip(decoder) if input[0] == 0x1f && !self.overlooks => **decoder = Decompress::new_gzip(WINDOW),
                Format::Gzip(_) => {
                    self.overlooks = true;
                    *input = &[];
                    return Ok(());
                }
                _ => return Err(Undecodable::Corrupt),
            }
            self.ended = false;
        }
        let before = out.len();
        out.resize(before + most, 0);
        let (taken, added, ended) = match &mut self.format {
            Format::Gzip(decoder) | Format::Deflate(decoder) => {
                let (read, written) = (decoder.total_in(), decoder.total_out());
                let status = decoder.decompress(input, &mut out[before..], FlushDecompress::None).map_err(|_| Undecodable::Corrupt)?;
                ((decoder.total_in() - read) as usize, (decoder.total_out() - written) as usize, status == Status::StreamEnd)
            }
            Format::Brotli(state) => {
                let (mut available, mut taken, mut room, mut added, mut total) = (input.len(), 0, most, 0, 0);
                let result =
                    BrotliDecompressStream(&mut available, &mut taken, input, &mut room, &mut added, &mut out[before..], &mut total, state);
                if matches!(result, BrotliResult::ResultFailure) {
                    return Err(Undecodable::Corrupt);
                }
                (taken, added, matches!(result, BrotliResult::ResultSuccess))
            }
            Format::DeflateUnseen(_) => (0, 0, false),
        };
        out.truncate(before + added);
        let stuck = taken == 0 && added == 0 && !input.is_empty() && !ended;
        *input = &input[taken..];
        self.ended = ended;
        if stuck { Err(Undecodable::Corrupt) } else { Ok(()) }
    }

    /// Whether a body may end here. An empty one may.
    pub(crate) fn end(&self) -> Result<(), Undecodable> {
        if self.ended || !self.begun { Ok(()) } else { Err(Undecodable::Truncated) }
    }
}

/// Puts a coding on.
pub(super) enum Encoder {
    Gzip(GzEncoder<Vec<u8>>),
    Zlib(ZlibEncoder<Vec<u8>>),
    Deflate(DeflateEncoder<Vec<u8>>),
    Brotli(Box<CompressorWriter<Vec<u8>>>),
}

/// Quick, and within a few per cent of what SuperOffice's servers reach.
const LEVEL: u32 = 4;

/// Brotli's window, 256 KiB: its memory is counted in windows.
const BROTLI_WINDOW: u32 = 18;

impl Encoder {
    /// For the coding, and the frame, that the decoder found.
    pub(super) fn like(decoder: &Decoder) -> Encoder {
        let level = Compression::new(LEVEL);
        match &decoder.format {
            Format::Gzip(_) => Encoder::Gzip(GzEncoder::new(Vec::new(), level)),
            Format::Deflate(_) if decoder.bare => Encoder::Deflate(DeflateEncoder::new(Vec::new(), level)),
            Format::Deflate(_) | Format::DeflateUnseen(_) => Encoder::Zlib(ZlibEncoder::new(Vec::new(), level)),
            Format::Brotli(_) => Encoder::Brotli(Box::new(CompressorWriter::new(Vec::new(), 4096, LEVEL, BROTLI_WINDOW))),
        }
    }

    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Encoder::Gzip(encoder) => encoder,
            Encoder::Zlib(encoder) => encoder,
            Encoder::Deflate(encoder) => encoder,
            Encoder::Brotli(encoder) => encoder,
        }
    }

    /// More of the body.
    pub(super) fn write(&mut self, plain: &[u8]) -> io::Result<()> {
        self.writer().write_all(plain)
    }

    /// Whatever was written can be decoded from what is given out.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.writer().flush()
    }

    /// What is ready to be sent.
    pub(super) fn ready(&mut self) -> &mut Vec<u8> {
        match self {
            Encoder::Gzip(encoder) => encoder.get_mut(),
            Encoder::Zlib(encoder) => encoder.get_mut(),
            Encoder::Deflate(encoder) => encoder.get_mut(),
            Encoder::Brotli(encoder) => encoder.get_mut(),
        }
    }

    /// The rest.
    pub(super) fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Encoder::Gzip(encoder) => encoder.finish(),
            Encoder::Zlib(encoder) => encoder.finish(),
            Encoder::Deflate(encoder) => encoder.finish(),
            Encoder::Brotli(encoder) => Ok(encoder.into_inner()),
        }
    }
}
