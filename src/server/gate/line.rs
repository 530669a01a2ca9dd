//! Lines and what they are made of. RFC 9110 §5, RFC 9112 §5–7.

/// What a name or a method may be made of.
const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let (letters, mut at) = (b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", 0);
    while at < letters.len() {
        table[letters[at] as usize] = true;
        at += 1;
    }
    table
};

/// Names that say where a message ends, or whom it is for: in trailers they could only mislead. Others that have no business
/// there are stripped on their way.
const FRAMING: [&str; 3] = ["content-length", "transfer-encoding", "host"];

/// Whether it is a name or a method.
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| TOKEN[usize::from(*byte)])
}

/// Whether any byte is a control character other than a tab. Eight at a time: every byte of every head comes by here.
pub(super) fn has_controls(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<8>();
    if !words.iter().any(|word| suspicious(u64::from_ne_bytes(*word))) {
        let last = match bytes.last_chunk::<8>() {
            Some(last) if !rest.is_empty() => suspicious(u64::from_ne_bytes(*last)),
            Some(_) => false,
            None => return rest.iter().any(is_control),
        };
        if !last {
            return false;
        }
    }
    bytes.iter().any(is_control)
}

fn is_control(byte: &u8) -> bool {
    (*byte < b' ' && *byte != b'\t') || *byte == 0x7f
}

/// Whether a byte of the eight is below a blank, or DEL.
fn suspicious(word: u64) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let below = word.wrapping_sub(ONES * 0x20) & !word;
    let other = word ^ (ONES * 0x7f);
    let del = other.wrapping_sub(ONES) & !other;
    (below | del) & HIGH != 0
}

/// A header's name and value, the value without the blanks around it.
pub(super) fn field(line: &[u8]) -> Result<(&[u8], &[u8]), &'static str> {
    let end = name(line)?.ok_or("a header without a colon")?;
    let mut value = &line[end + 1..];
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    Ok((&line[..end], value))
}

/// Where a header's name ends, if that has come. What cannot become a name is refused however little of it there is.
pub(super) fn name(line: &[u8]) -> Result<Option<usize>, &'static str> {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err("a line that goes on with the one before");
    }
    // Ends with the line, or at the first byte that cannot be in a name.
    let end = line.iter().position(|byte| !TOKEN[usize::from(*byte)]).unwrap_or(line.len());
    match line.get(end) {
        Some(b':') if end > 0 => Ok(Some(end)),
        Some(b':') => Err("a header without a name"),
        Some(_) => Err("a header's name with a character that is not for names"),
        None => Ok(None),
    }
}

/// A decimal number that every reader reads alike: some take one that begins with 0 for an octal one.
pub(super) fn length(value: &[u8]) -> Option<u64> {
    if value.len() > 1 && value[0] == b'0' || !(1..=18).contains(&value.len()) || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(value.iter().fold(0, |length, digit| length * 10 + u64::from(digit - b'0')))
}

/// A chunk's size, and how many bytes of extensions stand behind it.
pub(super) fn chunk_size(line: &[u8]) -> Result<(u64, usize), &'static str> {
    let end = line.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(line.len());
    // Four bits each: no more than a u64 takes.
    if !(1..=15).contains(&end) || line.get(end).is_some_and(|byte| *byte != b';') {
        return Err("a chunk whose size is no plain number");
    }
    let value = |digit: u8| u64::from(char::from(digit).to_digit(16).unwrap_or_default());
    let size = line[..end].iter().fold(0, |size, digit| size << 4 | value(*digit));
    Ok((size, line.len() - end))
}

/// A line behind the last chunk.
pub(super) fn trailer(line: &[u8]) -> Result<(), &'static str> {
    let (name, _) = field(line)?;
    match FRAMING.iter().any(|framing| same(name, framing)) {
        true => Err("framing in trailers"),
        false => Ok(()),
    }
}

/// Whether a name is this one, also for a reader that takes `_` for `-`.
pub(super) fn same(name: &[u8], lower: &str) -> bool {
    let plain = |byte: &u8| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    name.len() == lower.len() && name.iter().map(plain).eq(lower.bytes())
}
