//! The wire format of protocol buffers, as far as the engine meets it: fields in, fields out.
//!
//! <https://protobuf.dev/programming-guides/encoding/>. Whoever reads says what each field is; groups, which no message of
//! ours has, end the reading.

/// One field of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its number in the message's definition.
    pub number: u64,
    /// What it holds.
    pub payload: Payload<'a>,
}

/// What a field holds, by its wire type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload<'a> {
    /// An integer, a boolean or an enum.
    Varint(u64),
    /// Eight bytes: `fixed64`, `double`.
    Fixed64(u64),
    /// Four bytes: `fixed32`, `float`.
    Fixed32(u32),
    /// A text, bytes, or a message.
    Bytes(&'a [u8]),
}

/// Takes one field off the front. `None`: the bytes are cut short, or no message.
pub fn field<'a>(rest: &mut &'a [u8]) -> Option<Field<'a>> {
    let tag = varint(rest)?;
    let payload = match tag & 7 {
        0 => Payload::Varint(varint(rest)?),
        1 => Payload::Fixed64(u64::from_le_bytes(take(rest, 8)?.try_into().ok()?)),
        2 => {
            let length = usize::try_from(varint(rest)?).ok()?;
            Payload::Bytes(take(rest, length)?)
        }
        5 => Payload::Fixed32(u32::from_le_bytes(take(rest, 4)?.try_into().ok()?)),
        _ => return None,
    };
    Some(Field { number: tag >> 3, payload })
}

/// Appends a text, bytes, or a message; one that is empty, too.
pub fn push_bytes(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    push_number(out, u64::from(number) << 3 | 2);
    push_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends an integer or an enum. Zero is what a reader takes a missing one for, and is left out.
pub fn push_varint(out: &mut Vec<u8>, number: u8, value: u64) {
    if value != 0 {
        push_number(out, u64::from(number) << 3);
        push_number(out, value);
    }
}

fn push_number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = *take(rest, 1)?.first()?;
        let bits = u64::from(byte & 0x7f);
        value |= bits.checked_shl(shift).filter(|shifted| shifted >> shift == bits)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_that_no_message_has_end_the_reading() {
        // A group, a length beyond the end, a number of eleven bytes, nothing.
        for bytes in [&[0x0b_u8][..], &[0x0a, 5, 1], &[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1], &[]]
        {
            assert_eq!(field(&mut &*bytes), None, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_pushed_is_read(number in 1u8..30, value in 1u64.., bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut out = Vec::new();
            push_varint(&mut out, number, value);
            push_bytes(&mut out, number, &bytes);
            let mut rest = out.as_slice();
            let number = u64::from(number);
            prop_assert_eq!(field(&mut rest), Some(Field { number, payload: Payload::Varint(value) }));
            prop_assert_eq!(field(&mut rest), Some(Field { number, payload: Payload::Bytes(&bytes) }));
            prop_assert!(rest.is_empty());
        }
    }
}
