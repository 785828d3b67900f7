//! Parameters of path, query, headers and cookies, each with a type.

use std::borrow::Cow;

use portcullis_payload::Place;
use portcullis_payload::arguments::{each_pair, percent_decoded};

use super::Refusal;
use super::schema::SchemaSet;
use super::spellings::{IN_ANOTHER_SPELLING, Spellings};
use super::values::{Expected, Subject};
use crate::answer::Reason;
use crate::config::schema::ParameterPlace;
use crate::http::RequestHead;

/// A parameter, and what it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Where it stands.
    pub place: ParameterPlace,
    /// Its name; of a header in lower case.
    pub name: String,
    /// What its values must be.
    pub expected: Expected,
}

/// The parameters of a rule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parameters {
    /// Those that are declared.
    pub declared: Vec<Parameter>,
    /// Whether the query may have no other ones.
    pub denies_unknown: bool,
    in_query: Spellings,
    in_cookies: Spellings,
}

/// A parameter or a field that was found to be of a type that leaves no room for an attack.
pub type Typed = (Place, Vec<u8>);

impl Parameters {
    /// Those that are declared; `denies_unknown` says that the query may have no other ones.
    pub fn new(declared: Vec<Parameter>, denies_unknown: bool) -> Self {
        let folded = |place| Spellings::of(names(&declared, place));
        let (in_query, in_cookies) = (folded(ParameterPlace::Query), folded(ParameterPlace::Cookie));
        Self { declared, denies_unknown, in_query, in_cookies }
    }

    /// Checks the parameters of a request; `variable` gives those of its path.
    ///
    /// # Errors
    /// [`Refusal`], the first one.
    pub fn check<'p>(
        &self,
        schemas: &SchemaSet,
        head: &RequestHead,
        variable: impl Fn(&str) -> Option<Cow<'p, str>>,
    ) -> Result<Vec<Typed>, Refusal> {
        // The values that were found, by the number of their parameter.
        let mut found: Vec<Vec<Vec<u8>>> = vec![Vec::new(); self.declared.len()];
        let query = head.query().unwrap_or_default();
        let (mut is_unknown, mut respelt) = (false, None);
        each_pair(query, b'&', true, |name, value| {
            match self.number(ParameterPlace::Query, name).and_then(|number| found.get_mut(number)) {
                Some(values) => values.push(value.to_vec()),
                None => {
                    is_unknown = true;
                    respelt = respelt.or_else(|| self.in_query.number(name));
                }
            }
        });
        if is_unknown && self.denies_unknown {
            return Err(Refusal::new(Reason::InputParameterUnknown, "in the query"));
        }
        self.refuse(ParameterPlace::Query, respelt.or_else(|| self.in_query.behind_semicolon(query)))?;
        if self.declared.iter().any(|parameter| parameter.place == ParameterPlace::Cookie) {
            let mut respelt = None;
            for line in head.headers().get_all("cookie") {
                each_pair(line, b';', false, |name, value| {
                    match self.number(ParameterPlace::Cookie, name).and_then(|number| found.get_mut(number)) {
                        Some(values) => values.push(value.to_vec()),
                        None => respelt = respelt.or_else(|| self.in_cookies.number(&percent_decoded(name, true))),
                    }
                });
            }
            self.refuse(ParameterPlace::Cookie, respelt)?;
        }
        let mut typed = Vec::new();
        for (parameter, mut values) in self.declared.iter().zip(found) {
            match parameter.place {
                ParameterPlace::Header => {
                    let lines = head.headers().get_all(&parameter.name);
                    values.extend(lines.map(|line| line.trim_ascii().to_vec()));
                }
                ParameterPlace::Path => {
                    values.extend(variable(&parameter.name).map(|value| value.into_owned().into_bytes()));
                }
                ParameterPlace::Query | ParameterPlace::Cookie => {}
            }
            let subject = Subject { place: parameter.place.as_str(), word: "parameter", name: &parameter.name };
            if parameter.expected.check(schemas, subject, &values)? {
                typed.extend(parameter.payload_place().map(|place| (place, parameter.name.clone().into_bytes())));
            }
        }
        Ok(typed)
    }

    /// The variables of the path that are declared.
    pub fn path_variables(&self) -> impl Iterator<Item = &str> {
        names(&self.declared, ParameterPlace::Path)
    }

    /// Whether the query has a parameter of this name.
    pub fn declares_in_query(&self, name: &[u8]) -> bool {
        self.number(ParameterPlace::Query, name).is_some()
    }

    /// Refuses another spelling of a name: services could take it for a second value.
    fn refuse(&self, place: ParameterPlace, respelt: Option<usize>) -> Result<(), Refusal> {
        match respelt.and_then(|number| names(&self.declared, place).nth(number)) {
            Some(name) => Err(Subject { place: place.as_str(), word: "parameter", name }.repeated(IN_ANOTHER_SPELLING)),
            None => Ok(()),
        }
    }

    fn number(&self, place: ParameterPlace, name: &[u8]) -> Option<usize> {
        self.declared.iter().position(|parameter| parameter.place == place && parameter.name.as_bytes() == name)
    }
}

fn names(declared: &[Parameter], place: ParameterPlace) -> impl Iterator<Item = &str> {
    declared.iter().filter(move |parameter| parameter.place == place).map(|parameter| parameter.name.as_str())
}

impl Parameter {
    /// Where payload rules meet it. They judge a path as a whole.
    fn payload_place(&self) -> Option<Place> {
        match self.place {
            ParameterPlace::Path => None,
            ParameterPlace::Query => Some(Place::Query),
            ParameterPlace::Header => Some(Place::Header),
            ParameterPlace::Cookie => Some(Place::Cookie),
        }
    }
}

/// How many parameters a query or a form has.
pub fn count(text: &[u8]) -> usize {
    text.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()).count()
}

/// How many cookies a request has.
pub fn count_cookies(head: &RequestHead) -> usize {
    let lines = head.headers().get_all("cookie");
    lines.map(|line| line.split(|byte| *byte == b';').filter(|pair| !pair.trim_ascii().is_empty()).count()).sum()
}
