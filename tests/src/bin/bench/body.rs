//! What requests carry.

/// The body of a row's requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// None: they are GETs.
    None,
    /// A JSON document of so many leaves, as an application would send it: about 21 bytes for each.
    Json(usize),
    /// So many bytes of English prose, as somebody would write it in a field.
    Text(usize),
}

impl Body {
    /// Its content type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::None | Self::Json(_) => "application/json",
            Self::Text(_) => "text/plain",
        }
    }

    /// Its bytes.
    pub fn bytes(self) -> Vec<u8> {
        match self {
            Self::None => Vec::new(),
            Self::Json(leaves) => {
                let leaf = |number: usize| match number % 4 {
                    0 => format!("\"name_{number}\":\"Anna M\""),
                    1 => format!("\"count_{number}\":{}", number * 37),
                    2 => format!("\"ref_{number}\":\"a-{number}-7f\""),
                    _ => format!("\"note_{number}\":\"see it\""),
                };
                format!("{{{}}}", (0..leaves).map(leaf).collect::<Vec<_>>().join(",")).into_bytes()
            }
            Self::Text(size) => {
                let mut text = String::with_capacity(size + 200);
                // Another order in each round.
                for number in 0.. {
                    let sentence = SENTENCES.get((number * 7 + number / SENTENCES.len()) % SENTENCES.len());
                    text.push_str(sentence.copied().unwrap_or_default());
                    text.push(if number % 6 == 5 { '\n' } else { ' ' });
                    if text.len() >= size {
                        break;
                    }
                }
                text.into_bytes()
            }
        }
    }
}

const SENTENCES: &[&str] = &[
    "The parcel arrived on Tuesday, two days before the date that we had been told.",
    "I don't think the colour is wrong, but it isn't the one in the picture either.",
    "Could you please send the invoice again (number 2026-1148), with our new address?",
    "My sister's table is the same model, and hers has never made that noise.",
    "We chose the larger one from the three that you offered; it fits well.",
    "\"It will take a week or so,\" said the man on the phone, and he was right.",
    "Please update the order and add one more lamp, if there are any left in stock.",
    "The instructions say where to put each screw, yet there were four too many.",
    "I've tried to set the clock - it goes back to 12:00 whenever the power is cut.",
    "Nobody told us that the door would have to be taken off its hinges first.",
    "It works as described: quiet, quick and easy to clean after use.",
    "For the price of 89.90 I'd expected better paint and a handle that doesn't turn.",
    "When I called again I was asked to select option 3, and then to wait.",
    "They've replaced it without a word, which is more than others would have done.",
    "All in all we're happy with it, and we'll come back for the chairs next month.",
    "Is there a way to join two of these, or do I need the longer board instead?",
    "The cable's end doesn't fit; there must be another kind for older devices.",
    "As for the delivery: the driver was friendly & helped us to carry it upstairs!",
    "If nothing else helps, drop it off at the shop between 9 and 17 o'clock.",
];
