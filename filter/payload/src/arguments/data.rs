//! Bodies and files that are no text: pictures, archives, messages of formats that are not read. Rules about text would find something
//! in any of them by chance, so that only what a server would run or unpack is looked for, and what a careless reader takes for text.
//!
//! What decides is the content: nobody gets text past the rules by calling it a picture.

use std::borrow::Cow;

use crate::bytes::{at, find, part, position, rest};
use crate::rules::id;
use crate::verdict::{Place, Source};

use super::{Values, charset, decode};

/// What is known of a content that is no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data {
    /// A known format that holds no files of others.
    Plain,
    /// A known format that holds files, or programs: what stands in the middle of it is nothing to whoever stores it.
    Archive,
    /// No known format: texts can stand in it, as in CBOR.
    Unknown,
}

/// What a content is, if it is no text: by its type, which `declared` holds without parameters in lower case, and by its beginning.
///
/// Whatever a reader of JSON, XML or text would make something of is text, also under the type of a picture.
pub fn of(declared: &[u8], content: &[u8]) -> Option<Data> {
    if is_text_type(declared) {
        return None;
    }
    // Some formats begin with letters: a text can do so too.
    if let Some(known) = format(content)
        && !is_text(part(content, 0, LOOKED_AT))
    {
        return Some(known);
    }
    is_binary(content).then_some(Data::Unknown)
}

/// Whether a content is none of text, whatever its type says.
pub fn is_binary(content: &[u8]) -> bool {
    let start = part(content, 0, SAMPLE);
    let text = charset::in_utf8(start);
    let is_converted = matches!(text, Cow::Owned(_));
    let behind = |skipped: fn(&&u8) -> bool| rest(&text, text.iter().take_while(skipped).count());
    let bare = behind(|b| **b <= b' ');
    if reads_as_json(bare, content.len() <= SAMPLE) || reads_as_xml(bare) {
        return false;
    }
    // Only a mark makes another text than JSON and XML one of UTF-16: zeros between bytes are in most formats.
    if is_converted && !matches!(start, [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, 0, 0xfe, 0xff, ..]) {
        return true;
    }
    // Zeros in front of a text make it no data.
    let first = part(behind(|b| matches!(b, 0 | b' ' | b'\t' | b'\r' | b'\n')), 0, START);
    !is_text(first)
}

/// Whether bytes are UTF-8 without control bytes. A character that the end cuts is none that is wrong.
fn is_text(bytes: &[u8]) -> bool {
    let is_broken = std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_some());
    !is_broken && !bytes.iter().any(|b| matches!(b, 0..=8 | 14..=26 | 28..=29 | 31 | 127))
}

/// How much of a content tells whether it is text, and how much of it has to be text to be one.
const SAMPLE: usize = 4096;
const START: usize = 64;

/// Types whose readers read text, whatever the content looks like.
fn is_text_type(declared: &[u8]) -> bool {
    const WORDS: &[&[u8]] = &[
        b"json",
        b"urlencoded",
        b"graphql",
        b"script",
        b"yaml",
        b"html",
        b"php",
        b"svg",
        b"csv",
        b"toml",
        b"multipart/",
    ];
    // `application/vnd.openxmlformats-...` is an archive.
    declared.starts_with(b"text/")
        || declared.starts_with(b"message/")
        || declared.ends_with(b"xml")
        || declared.ends_with(b"sql")
        || declared.starts_with(b"application/xml")
        || WORDS.iter().any(|word| find(declared, word, 0).is_some())
        // Readers differ about what a list of types says.
        || declared.contains(&b',')
}

/// How known formats begin.
fn format(content: &[u8]) -> Option<Data> {
    const PLAIN: &[&[u8]] = &[
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
        b"GIF87a",
        b"GIF89a",
        b"II*\0",
        b"MM\0*",
        b"\0\0\x01\0",
        b"%PDF-",
        b"OggS",
        b"fLaC",
        b"ID3",
        b"\x1aE\xdf\xa3",
        b"wOFF",
        b"wOF2",
        b"OTTO",
        b"\0\x01\0\0",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        b"8BPS",
    ];
    const ARCHIVES: &[&[u8]] = &[
        b"PK\x03\x04",
        b"PK\x05\x06",
        b"\x1f\x8b\x08",
        b"BZh",
        b"\xfd7zXZ\0",
        b"\x28\xb5\x2f\xfd",
        b"7z\xbc\xaf\x27\x1c",
        b"Rar!\x1a\x07",
        b"SQLite format 3\0",
        b"\x7fELF",
        b"\0asm",
        b"!<arch>\n",
        b"PAR1",
    ];
    let is_one = |known: &[&[u8]]| known.iter().any(|start| content.starts_with(start));
    let behind = |from| part(content, from, from + 4);
    if is_one(PLAIN)
        || (content.starts_with(b"RIFF") && matches!(part(content, 8, 12), b"WEBP" | b"WAVE" | b"AVI "))
        // ISO media: MP4, HEIC, AVIF.
        || (at(content, 0) == 0 && behind(4) == b"ftyp")
        || (content.starts_with(b"BM") && behind(6) == [0; 4])
    {
        Some(Data::Plain)
    } else if is_one(ARCHIVES)
        || part(content, 257, 262) == b"ustar"
        || (content.starts_with(b"MZ") && content.contains(&0))
    {
        Some(Data::Archive)
    } else {
        None
    }
}

/// Whether a beginning is one of JSON, as even lenient readers take it: what stands outside of strings is printable. In a string,
/// anything can stand; a document that is one string has to end with it.
fn reads_as_json(text: &[u8], is_whole: bool) -> bool {
    if !matches!(at(text, 0), b'{' | b'[' | b'"') {
        return false;
    }
    let (mut quote, mut is_escaped) = (0, false);
    let is_printable = text.iter().all(|&byte| {
        match (quote, byte) {
            (0, b'"' | b'\'') => quote = byte,
            (0, _) => return matches!(byte, b' '..=b'~' | b'\t' | b'\r' | b'\n'),
            _ if is_escaped => is_escaped = false,
            (_, b'\\') => is_escaped = true,
            _ if byte == quote => quote = 0,
            _ => {}
        }
        true
    });
    is_printable && (quote == 0 || !is_whole || at(text, 0) != b'"')
}

/// Whether a beginning is that of a markup's first element.
fn reads_as_xml(text: &[u8]) -> bool {
    let Some(tag) = text.strip_prefix(b"<") else { return false };
    let name = part(tag, 0, START);
    let end = name.iter().position(|b| !(b.is_ascii_alphanumeric() || b"?!_:.-[%=".contains(b)));
    end.is_some_and(|end| end > 0 && matches!(at(name, end), b' ' | b'\t' | b'\r' | b'\n' | b'>' | b'/'))
}

/// Judges a content that is no text: as one of `place` and `name`, and of texts in it the first `most` bytes.
pub fn inspect(data: Data, content: &[u8], (place, name): (Place, &[u8]), most: usize, values: &mut Values<'_, '_>) {
    let source = Source { place, name };
    objects(content, source, values);
    let start = part(content, 0, LOOKED_AT);
    markup(start, source, values);
    code(if data == Data::Archive { start } else { content }, source, values);
    pairs(content, source, values);
    if data == Data::Unknown {
        texts(part(content, 0, most), source, values);
    }
}

/// How much of a file shows what it is, to browsers as well.
pub const LOOKED_AT: usize = 512;

/// Objects that are made, and code that is run, by whoever unpacks them.
fn objects(content: &[u8], source: Source<'_>, values: &mut Values<'_, '_>) {
    let rule = match content {
        [0xac, 0xed, 0, 5, ..] => id::DESERIALISATION_JAVA_STREAM,
        [0, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 1, ..] => id::DESERIALISATION_DOTNET_OBJECT,
        [4, 8, b'[' | b'{' | b'o' | b'I' | b'c' | b'e' | b':' | b'u', ..] => id::DESERIALISATION_PYTHON_PICKLE,
        [0x80, 2..=5, .., b'.'] => id::DESERIALISATION_PYTHON_PICKLE,
        _ => return,
    };
    values.inspection.note(rule, source, part(content, 0, 16));
}

/// Markup for which a browser would take the file, and the line with which a shell does.
fn markup(start: &[u8], source: Source<'_>, values: &mut Values<'_, '_>) {
    const TAGS: &[&[u8]] = &[b"script", b"svg", b"html", b"iframe", b"body", b"img", b"!doctype", b"object", b"embed"];
    let is_tag = |at: usize| {
        let name = rest(start, at + 1);
        TAGS.iter().any(|tag| {
            name.get(..tag.len()).is_some_and(|start| start.eq_ignore_ascii_case(tag))
                && matches!(name.get(tag.len()), Some(b' ' | b'\t' | b'\r' | b'\n' | b'>' | b'/' | 0x0c))
        })
    };
    if let Some(at) = angles(start).find(|&at| is_tag(at)) {
        values.inspection.note(id::XSS_SCRIPT_TAG, source, part(start, at, at + 32));
    }
}

/// Code of server pages: found wherever the file holds it, since all before it is text to the server.
fn code(content: &[u8], source: Source<'_>, values: &mut Values<'_, '_>) {
    // Short marks stand in any data by chance, but not before so much text.
    let is_printable = |from: usize, length: usize| {
        content
            .get(from..from + length)
            .is_some_and(|text| text.iter().all(|b| matches!(b, b' '..=b'~' | b'\t' | b'\r' | b'\n')))
    };
    let is_code = |open: usize| {
        let after = rest(content, open + 1);
        let is = |start: &[u8]| after.get(..start.len()).is_some_and(|text| text.eq_ignore_ascii_case(start));
        match at(after, 0) {
            b'?' => {
                is(b"?php")
                    || (matches!(at(after, 1), b'=' | b' ' | b'\t' | b'\r' | b'\n') && is_printable(open + 3, 8))
            }
            b'%' => {
                matches!(at(after, 1), b'@' | b'=' | b'!' | b' ' | b'\t' | b'\r' | b'\n') && is_printable(open + 3, 12)
            }
            b'j' | b'J' => is(b"jsp:"),
            b's' | b'S' if is(b"script") => {
                let tag = part(after, 0, 64).to_ascii_lowercase();
                find(&tag, b"runat", 0).is_some() || find(&tag, b"php", 0).is_some()
            }
            _ => false,
        }
    };
    if let Some(at) = angles(content).find(|&at| is_code(at)) {
        values.inspection.note(id::PHP_TAG, source, part(content, at, at + 32));
    }
}

/// Where `<` stands.
fn angles(content: &[u8]) -> impl Iterator<Item = usize> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let at = from + position(rest(content, from), b'<')?;
        from = at + 1;
        Some(at)
    })
}

/// What a reader of forms would find that takes any body for one: only texts in what is given to a name.
pub fn pairs(content: &[u8], source: Source<'_>, values: &mut Values<'_, '_>) {
    const LONGEST: usize = 64;
    let least = Text::in_content(content).least_in_pair();
    let mut from = part(content, 0, LONGEST).iter().take_while(|b| !(b' '..=b'~').contains(b)).count();
    while from < content.len() {
        let end = position(rest(content, from), b'&').map_or(content.len(), |length| from + length);
        let pair = part(content, from, end);
        from = end + 1;
        let Some(equals) = part(pair, 0, LONGEST).iter().position(|&b| b == b'=') else { continue };
        let is_name = |b: &u8| b.is_ascii_alphanumeric() || b"_-.[]%+$".contains(b);
        if equals > 0 && part(pair, 0, equals).iter().all(is_name) {
            for text in rest(pair, equals + 1).split(|&b| matches!(b, 0 | 127..)).filter(|text| text.len() >= least) {
                values.give(source.place, source.name, &decode::percent_decoded(text, true));
            }
        }
    }
}

/// How much of a content is text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Text {
    Most,
    Little,
}

impl Text {
    /// By its beginning. Of random bytes, two in five are text.
    fn in_content(content: &[u8]) -> Self {
        let start = part(content, 0, LOOKED_AT);
        let printable = start.iter().filter(|b| matches!(b, b' '..=b'~' | b'\t' | b'\r' | b'\n')).count();
        if printable * 8 >= start.len() * 5 { Self::Most } else { Self::Little }
    }

    /// The shortest text that is judged: nearly none that stand in data by chance are longer.
    fn least(self) -> usize {
        if self == Self::Most { 4 } else { 20 }
    }

    fn least_in_pair(self) -> usize {
        if self == Self::Most { 4 } else { 12 }
    }
}

/// How many texts are judged each for itself; the others together.
const APART: usize = 2048;

/// Texts between bytes that are none.
pub fn texts(content: &[u8], source: Source<'_>, values: &mut Values<'_, '_>) {
    let amount = Text::in_content(content);
    let is_none = |c: char| (c.is_control() && !c.is_ascii_whitespace()) || (amount == Text::Little && !c.is_ascii());
    let runs = content.utf8_chunks().flat_map(|chunk| chunk.valid().split(is_none));
    let mut left = Vec::new();
    for (number, text) in runs.filter(|text| text.len() >= amount.least()).enumerate() {
        if number < APART {
            values.inspection.value(source, text.as_bytes());
        } else {
            left.extend_from_slice(text.as_bytes());
            left.push(b'\n');
        }
    }
    if !left.is_empty() {
        values.inspection.value(source, &left);
    }
}
