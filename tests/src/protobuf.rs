//! Reads protocol buffers, as far as tests need it.

/// The value of a field.
#[derive(Debug)]
pub enum Value {
    /// A number of any length.
    Number(u64),
    /// Text, bytes or a message.
    Bytes(Vec<u8>),
    /// A number of four or eight bytes, which nobody here asks for.
    Fixed,
}

impl Value {
    /// Text, bytes or a message; `None` where it is a number.
    pub fn into_bytes(self) -> Option<Vec<u8>> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Number(_) | Self::Fixed => None,
        }
    }
}

/// The fields of a message, by number and in order; `None` where it is none.
pub fn fields(mut bytes: &[u8]) -> Option<Vec<(u64, Value)>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let tag = number(&mut bytes)?;
        let value = match tag & 7 {
            0 => Value::Number(number(&mut bytes)?),
            2 => {
                let length = usize::try_from(number(&mut bytes)?).ok()?;
                let (taken, rest) = bytes.split_at_checked(length)?;
                bytes = rest;
                Value::Bytes(taken.to_vec())
            }
            fixed @ (1 | 5) => {
                bytes = bytes.get(if fixed == 1 { 8 } else { 4 }..)?;
                Value::Fixed
            }
            _ => return None,
        };
        fields.push((tag >> 3, value));
    }
    Some(fields)
}

fn number(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for place in 0..9 {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
