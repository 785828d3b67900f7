//! From a checked expression and a request to true, false or an error.
//!
//! Errors are CEL's: `&&` and `||` come out wherever one side alone decides, whichever side has the error.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::net::IpAddr;
use std::rc::Rc;

use super::calendar::{self, Civil, SECOND};
use super::cidr::{Cidr, parse_ip};
use super::error::{EvaluationError, Fault};
use super::expression::{Expression, Function, Kind, Part, Quantifier, Root};
use super::parser::Operator;
use super::subject::Subject;
use super::value::{List, Map, Value};

/// How many steps one condition may take for one request: a few hundred are usual, and all of them are a few milliseconds.
pub(super) const MAX_STEPS: u32 = 50_000;
/// The longest text that an expression makes.
const MAX_TEXT_BYTES: usize = 64 * 1024;
/// The most elements of a list that an expression makes.
const MAX_ELEMENTS: usize = 4096;

type Outcome<'v> = Result<Value<'v>, EvaluationError>;

/// Whether the condition holds.
pub(super) fn evaluate<'v>(expression: &'v Expression, subject: &'v Subject<'v>) -> Result<bool, EvaluationError> {
    Evaluation::new(Some(subject)).truth(expression)
}

/// The value of a call on constants.
pub(super) fn constant(expression: &Expression) -> Result<Value<'static>, EvaluationError> {
    Ok(match Evaluation::new(None).value(expression)? {
        Value::Null => Value::Null,
        Value::Bool(value) => Value::Bool(value),
        Value::Int(number) => Value::Int(number),
        Value::Double(number) => Value::Double(number),
        Value::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
        Value::Timestamp(instant) => Value::Timestamp(instant),
        Value::Duration(span) => Value::Duration(span),
        Value::Ip(address) => Value::Ip(address),
        Value::Cidr(cidr) => Value::Cidr(cidr),
        Value::List(_) | Value::Map(_) => {
            return Err(EvaluationError { column: expression.column, fault: Fault::WrongType });
        }
    })
}

struct Evaluation<'v> {
    /// `None` while constants are calculated.
    subject: Option<&'v Subject<'v>>,
    locals: Vec<Value<'v>>,
    steps: u32,
}

impl<'v> Evaluation<'v> {
    fn new(subject: Option<&'v Subject<'v>>) -> Self {
        Self { subject, locals: Vec::new(), steps: MAX_STEPS }
    }

    fn subject(&self) -> Result<&'v Subject<'v>, Fault> {
        self.subject.ok_or(Fault::NotKnown("the request"))
    }

    /// Pays for work. Once the steps are used up, whatever comes is an error, so that `||` cannot go on behind it.
    fn pay(&mut self, steps: usize) -> Result<(), Fault> {
        match self.steps.checked_sub(u32::try_from(steps).unwrap_or(u32::MAX)) {
            Some(left) => {
                self.steps = left;
                Ok(())
            }
            None => {
                self.steps = 0;
                Err(Fault::TooCostly)
            }
        }
    }

    fn truth(&mut self, expression: &'v Expression) -> Result<bool, EvaluationError> {
        match self.value(expression)? {
            Value::Bool(value) => Ok(value),
            _ => Err(EvaluationError { column: expression.column, fault: Fault::WrongType }),
        }
    }

    fn value(&mut self, expression: &'v Expression) -> Outcome<'v> {
        let at = |fault| EvaluationError { column: expression.column, fault };
        self.pay(1).map_err(at)?;
        match &expression.kind {
            Kind::Text(text) => Ok(Value::text(text)),
            Kind::Fixed(value) => Ok(value.clone()),
            Kind::Attribute(attribute) => self.subject().and_then(|subject| subject.attribute(*attribute)).map_err(at),
            Kind::HasAttribute(attribute) => {
                // Whoever asks whether there is one also wants to know of one that cannot be read: that stays an error.
                match self.subject().and_then(|subject| subject.attribute(*attribute)) {
                    Ok(_) => Ok(Value::Bool(true)),
                    Err(Fault::NotKnown(_)) => Ok(Value::Bool(false)),
                    Err(fault) => Err(at(fault)),
                }
            }
            Kind::Root(Root::Claims) => {
                let claims = self.subject().map_err(at)?.claims;
                Ok(Value::Map(claims.map_or_else(|| Map::Made(Rc::new([])), |claims| Map::Json(claims.members()))))
            }
            Kind::Root(Root::Path) => Ok(Value::Map(Map::Path)),
            Kind::Root(Root::Query) => Ok(Value::Map(Map::Query)),
            Kind::Root(Root::Headers) => Ok(Value::Map(Map::Headers)),
            Kind::Local(slot) => self.locals.get(*slot).cloned().ok_or(at(Fault::NoSuchElement)),
            Kind::Member(of, name) => {
                let of = self.value(of)?;
                self.member(&of, name).map_err(at)?.ok_or_else(|| at(self.missing(&of, name)))
            }
            Kind::Has(of, name) => {
                let of = self.value(of)?;
                Ok(Value::Bool(self.has(&of, name).map_err(at)?))
            }
            Kind::Index(of, key) => {
                let (of, key) = (self.value(of)?, self.value(key)?);
                self.index(&of, &key).map_err(at)
            }
            Kind::Not(inner) => self.truth(inner).map(|value| Value::Bool(!value)),
            Kind::Negative(inner) => match self.value(inner)? {
                Value::Int(number) => number.checked_neg().map(Value::Int).ok_or_else(|| at(Fault::Arithmetic)),
                Value::Double(number) => Ok(Value::Double(-number)),
                Value::Duration(span) => Ok(Value::Duration(-span)),
                _ => Err(at(Fault::WrongType)),
            },
            Kind::And(parts) => self.chain(parts, false).map(Value::Bool),
            Kind::Or(parts) => self.chain(parts, true).map(Value::Bool),
            Kind::Equal { left, right, negated } => {
                let (left, right) = (self.value(left)?, self.value(right)?);
                self.equal(&left, &right).map(|equal| Value::Bool(equal != *negated)).map_err(at)
            }
            Kind::Order(operator, left, right) => {
                let (left, right) = (self.value(left)?, self.value(right)?);
                self.pay(weight(&left).min(weight(&right))).map_err(at)?;
                let order = left.order(&right).map_err(at)?;
                Ok(Value::Bool(match operator {
                    Operator::Less => order == Some(Ordering::Less),
                    Operator::LessOrEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
                    Operator::Greater => order == Some(Ordering::Greater),
                    _ => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
                }))
            }
            Kind::Arithmetic(operator, left, right) => {
                let (left, right) = (self.value(left)?, self.value(right)?);
                self.arithmetic(*operator, left, right).map_err(at)
            }
            Kind::In(wanted, within) => {
                let (wanted, within) = (self.value(wanted)?, self.value(within)?);
                self.is_in(&wanted, &within).map(Value::Bool).map_err(at)
            }
            Kind::OneOf(wanted, elements) => {
                let wanted = self.value(wanted)?;
                for element in elements {
                    let element = self.value(element)?;
                    if self.equal(&wanted, &element).map_err(at)? {
                        return Ok(Value::Bool(true));
                    }
                }
                Ok(Value::Bool(false))
            }
            Kind::Choice(condition, then, otherwise) => {
                if self.truth(condition)? {
                    self.value(then)
                } else {
                    self.value(otherwise)
                }
            }
            Kind::List(elements) => {
                let elements: Result<Rc<[Value<'v>]>, _> = elements.iter().map(|element| self.value(element)).collect();
                Ok(Value::List(List::Made(elements?)))
            }
            Kind::Map(entries) => {
                let entry = |(name, value): &'v (Box<str>, Expression)| Ok((&**name, self.value(value)?));
                let entries: Result<Rc<[_]>, EvaluationError> = entries.iter().map(entry).collect();
                Ok(Value::Map(Map::Made(entries?)))
            }
            Kind::Call(function, arguments) => self.call(*function, arguments, expression.column),
            Kind::Matches(text, pattern, length) => {
                let Value::Text(text) = self.value(text)? else { return Err(at(Fault::WrongType)) };
                // Linear in both, at worst.
                self.pay(text.len().saturating_mul(*length) / 64).map_err(at)?;
                Ok(Value::Bool(pattern.is_match(text.as_bytes())))
            }
            Kind::Quantified { quantifier, over, body } => {
                let over = self.value(over)?;
                self.quantified(*quantifier, &over, body, expression.column).map(Value::Bool)
            }
        }
    }

    /// `||` (`deciding` is true) or `&&` (false): one part with the deciding value decides, errors elsewhere or not.
    fn chain(&mut self, parts: &'v [Expression], deciding: bool) -> Result<bool, EvaluationError> {
        let mut first_error = None;
        for part in parts {
            match self.truth(part) {
                Ok(value) if value == deciding => return Ok(deciding),
                Ok(_) => {}
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        first_error.map_or(Ok(!deciding), Err)
    }

    fn quantified(
        &mut self,
        quantifier: Quantifier,
        over: &Value<'v>,
        body: &'v Expression,
        column: u32,
    ) -> Result<bool, EvaluationError> {
        let at = |fault| EvaluationError { column, fault };
        let deciding = quantifier == Quantifier::Exists;
        let names = self.names(over).map_err(at)?;
        let over = names.as_ref().unwrap_or(over);
        let (mut first_error, mut found) = (None, 0_usize);
        for index in 0.. {
            let Some(element) = element(over, index).map_err(at)? else { break };
            self.pay(1).map_err(at)?;
            self.locals.push(element);
            let holds = self.truth(body);
            self.locals.pop();
            match holds {
                // As in CEL, `exists_one` is an error where any of its conditions is.
                Err(error) if quantifier == Quantifier::ExistsOne => return Err(error),
                Ok(holds) if quantifier == Quantifier::ExistsOne => found = found.saturating_add(usize::from(holds)),
                Ok(holds) if holds == deciding => return Ok(deciding),
                Ok(_) => {}
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        match first_error {
            Some(error) => Err(error),
            None if quantifier == Quantifier::ExistsOne => Ok(found == 1),
            None => Ok(!deciding),
        }
    }

    /// The names of a map's members, as a list; `None` for what is no map.
    fn names(&mut self, of: &Value<'v>) -> Result<Option<Value<'v>>, Fault> {
        let names: Rc<[Value<'v>]> = match of {
            Value::Map(Map::Json(members)) => {
                self.pay(members.len())?;
                members.keys().map(|name| Value::text(name)).collect()
            }
            Value::Map(Map::Made(members)) => {
                self.pay(members.len())?;
                members.iter().map(|(name, _)| Value::text(name)).collect()
            }
            _ => return Ok(None),
        };
        Ok(Some(Value::List(List::Made(names))))
    }

    /// The member of a map; `None` where there is none.
    fn member(&mut self, of: &Value<'v>, name: &str) -> Result<Option<Value<'v>>, Fault> {
        let Value::Map(map) = of else { return Err(Fault::WrongType) };
        match map {
            Map::Json(members) => members.get(name).map(Value::of_json).transpose(),
            Map::Made(members) => Ok(members.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone())),
            Map::Headers => Ok(self.subject()?.header(name)?.map(Value::text)),
            Map::Query => {
                let subject = self.subject()?;
                self.pay(subject.path.query().map_or(0, <[u8]>::len) / 32)?;
                Ok(subject.parameter(name)?.map(Value::Text))
            }
            Map::Path => Ok(self.subject()?.path_variable(name).map(Value::Text)),
        }
    }

    fn has(&mut self, of: &Value<'v>, name: &str) -> Result<bool, Fault> {
        match of {
            // A number without a value is there all the same.
            Value::Map(Map::Json(members)) => Ok(members.contains_key(name)),
            _ => Ok(self.member(of, name)?.is_some()),
        }
    }

    fn missing(&self, of: &Value<'v>, name: &str) -> Fault {
        match of {
            Value::Map(Map::Path) => Fault::NoPathVariable(name.into()),
            _ => Fault::NoMember(name.into()),
        }
    }

    fn index(&mut self, of: &Value<'v>, key: &Value<'v>) -> Result<Value<'v>, Fault> {
        match (of, key) {
            (Value::List(_), Value::Int(index)) => {
                let index = usize::try_from(*index).map_err(|_| Fault::NoSuchElement)?;
                element(of, index)?.ok_or(Fault::NoSuchElement)
            }
            (Value::Map(_), Value::Text(name)) => self.member(of, name)?.ok_or(Fault::NoSuchMember),
            _ => Err(Fault::WrongType),
        }
    }

    fn is_in(&mut self, wanted: &Value<'v>, within: &Value<'v>) -> Result<bool, Fault> {
        match within {
            Value::List(_) => {
                for index in 0.. {
                    let Some(element) = element(within, index)? else { break };
                    if self.equal(wanted, &element)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Value::Map(_) => match wanted {
                Value::Text(name) => self.has(within, name),
                _ => Err(Fault::WrongType),
            },
            _ => Err(Fault::WrongType),
        }
    }

    /// Whether two values are equal; values of different kinds never are, but for numbers.
    fn equal(&mut self, a: &Value<'v>, b: &Value<'v>) -> Result<bool, Fault> {
        self.pay(weight(a).min(weight(b)).saturating_add(1))?;
        Ok(match (a, b) {
            (Value::Null, Value::Null) => true,
            (Value::Text(a), Value::Text(b)) => a == b,
            (Value::Ip(a), Value::Ip(b)) => a == b,
            (Value::Cidr(a), Value::Cidr(b)) => a == b,
            (Value::List(_), Value::List(_)) => {
                for index in 0.. {
                    match (element(a, index)?, element(b, index)?) {
                        (None, None) => break,
                        (Some(a), Some(b)) if self.equal(&a, &b)? => {}
                        _ => return Ok(false),
                    }
                }
                true
            }
            (Value::Map(Map::Json(a)), Value::Map(Map::Json(b))) => {
                self.pay(a.len())?;
                if a.len() != b.len() {
                    return Ok(false);
                }
                for (name, value) in *a {
                    let Some(other) = b.get(name) else { return Ok(false) };
                    if !self.equal(&Value::of_json(value)?, &Value::of_json(other)?)? {
                        return Ok(false);
                    }
                }
                true
            }
            (Value::Map(_), Value::Map(_)) => return Err(Fault::WrongType),
            // What has no order between its kinds is not equal.
            _ => a.order(b).is_ok_and(|order| order == Some(Ordering::Equal)),
        })
    }

    fn arithmetic(&mut self, operator: Operator, a: Value<'v>, b: Value<'v>) -> Result<Value<'v>, Fault> {
        use Operator::{Add, Divide, Multiply, Remainder, Subtract};
        let timestamp = |nanoseconds: i128| calendar::timestamp(nanoseconds).map(Value::Timestamp);
        let duration = |nanoseconds: i128| calendar::duration(nanoseconds).map(Value::Duration);
        let result = match (operator, a, b) {
            (Add, Value::Int(a), Value::Int(b)) => a.checked_add(b).map(Value::Int),
            (Subtract, Value::Int(a), Value::Int(b)) => a.checked_sub(b).map(Value::Int),
            (Multiply, Value::Int(a), Value::Int(b)) => a.checked_mul(b).map(Value::Int),
            (Divide, Value::Int(a), Value::Int(b)) => a.checked_div(b).map(Value::Int),
            (Remainder, Value::Int(a), Value::Int(b)) => a.checked_rem(b).map(Value::Int),
            (Add, Value::Double(a), Value::Double(b)) => Some(Value::Double(a + b)),
            (Subtract, Value::Double(a), Value::Double(b)) => Some(Value::Double(a - b)),
            (Multiply, Value::Double(a), Value::Double(b)) => Some(Value::Double(a * b)),
            (Divide, Value::Double(a), Value::Double(b)) => Some(Value::Double(a / b)),
            (Add, Value::Text(a), Value::Text(b)) => {
                let length = a.len().saturating_add(b.len());
                self.pay(length / 16)?;
                if length > MAX_TEXT_BYTES {
                    return Err(Fault::TooCostly);
                }
                Some(Value::Text(Cow::Owned(a.into_owned() + &b)))
            }
            (Add, a @ Value::List(_), b @ Value::List(_)) => {
                let mut elements = Vec::new();
                for list in [&a, &b] {
                    for index in 0.. {
                        let Some(element) = element(list, index)? else { break };
                        self.pay(1)?;
                        elements.push(element);
                    }
                }
                if elements.len() > MAX_ELEMENTS {
                    return Err(Fault::TooCostly);
                }
                Some(Value::List(List::Made(elements.into())))
            }
            // The ranges of both are far from those of 128 bits.
            (Add, Value::Timestamp(a), Value::Duration(b)) | (Add, Value::Duration(b), Value::Timestamp(a)) => {
                timestamp(a.saturating_add(b))
            }
            (Subtract, Value::Timestamp(a), Value::Duration(b)) => timestamp(a.saturating_sub(b)),
            (Subtract, Value::Timestamp(a), Value::Timestamp(b)) => duration(a.saturating_sub(b)),
            (Add, Value::Duration(a), Value::Duration(b)) => duration(a.saturating_add(b)),
            (Subtract, Value::Duration(a), Value::Duration(b)) => duration(a.saturating_sub(b)),
            _ => return Err(Fault::WrongType),
        };
        result.ok_or(Fault::Arithmetic)
    }

    fn call(&mut self, function: Function, arguments: &'v [Expression], column: u32) -> Outcome<'v> {
        let at = |fault| EvaluationError { column, fault };
        let [first, rest @ ..] = arguments else { return Err(at(Fault::WrongType)) };
        let first = self.value(first)?;
        let second = rest.first().map(|second| self.value(second)).transpose()?;
        self.pay(weight(&first).saturating_add(second.as_ref().map_or(0, weight))).map_err(at)?;
        apply(function, first, second).map_err(at)
    }
}

/// What a value costs to look at as a whole, in steps.
fn weight(value: &Value<'_>) -> usize {
    match value {
        Value::Text(text) => text.len() / 64,
        _ => 0,
    }
}

/// The element of a list by its place; `None` behind the last one.
fn element<'v>(of: &Value<'v>, index: usize) -> Result<Option<Value<'v>>, Fault> {
    match of {
        Value::List(List::Json(elements)) => elements.get(index).map(Value::of_json).transpose(),
        Value::List(List::Made(elements)) => Ok(elements.get(index).cloned()),
        _ => Err(Fault::WrongType),
    }
}

fn apply<'v>(function: Function, first: Value<'v>, second: Option<Value<'v>>) -> Result<Value<'v>, Fault> {
    let text = |value: &Value<'v>| match value {
        Value::Text(text) => Ok(text.clone()),
        _ => Err(Fault::WrongType),
    };
    let second_text = || second.as_ref().map_or(Err(Fault::WrongType), text);
    Ok(match function {
        Function::Size => Value::Int(size(&first)?),
        Function::StartsWith => Value::Bool(text(&first)?.starts_with(&*second_text()?)),
        Function::EndsWith => Value::Bool(text(&first)?.ends_with(&*second_text()?)),
        Function::Contains => Value::Bool(text(&first)?.contains(&*second_text()?)),
        Function::LowerAscii => Value::Text(Cow::Owned(text(&first)?.to_ascii_lowercase())),
        Function::UpperAscii => Value::Text(Cow::Owned(text(&first)?.to_ascii_uppercase())),
        Function::ToInt => Value::Int(to_int(&first)?),
        Function::ToDouble => match &first {
            Value::Int(number) => Value::Double(*number as f64),
            Value::Double(number) => Value::Double(*number),
            Value::Text(text) => Value::Double(parse_double(text).ok_or(Fault::Unreadable("number"))?),
            _ => return Err(Fault::WrongType),
        },
        Function::ToText => match first {
            Value::Int(number) => Value::Text(Cow::Owned(number.to_string())),
            Value::Double(number) => {
                let number = serde_json::Number::from_f64(number).ok_or(Fault::Arithmetic)?;
                Value::Text(Cow::Owned(number.to_string()))
            }
            Value::Bool(value) => Value::text(if value { "true" } else { "false" }),
            Value::Ip(address) => Value::Text(Cow::Owned(address.to_string())),
            text @ Value::Text(_) => text,
            _ => return Err(Fault::WrongType),
        },
        Function::ToTimestamp => match &first {
            Value::Timestamp(_) => first,
            Value::Int(seconds) => {
                Value::Timestamp(calendar::timestamp(i128::from(*seconds) * SECOND).ok_or(Fault::Arithmetic)?)
            }
            _ => {
                let instant = calendar::parse_timestamp(&text(&first)?);
                Value::Timestamp(instant.ok_or(Fault::Unreadable("timestamp"))?)
            }
        },
        Function::ToDuration => match &first {
            Value::Duration(_) => first,
            _ => Value::Duration(calendar::parse_duration(&text(&first)?).ok_or(Fault::Unreadable("duration"))?),
        },
        Function::ToIp => Value::Ip(to_ip(&first)?),
        Function::IsIp => Value::Bool(parse_ip(&text(&first)?).is_some()),
        Function::Family => match first {
            Value::Ip(address) => Value::Int(if address.is_ipv4() { 4 } else { 6 }),
            _ => return Err(Fault::WrongType),
        },
        Function::ToCidr => match &first {
            Value::Cidr(_) => first,
            _ => Value::Cidr(Cidr::parse(&text(&first)?).ok_or(Fault::Unreadable("range of addresses"))?),
        },
        Function::ContainsIp => match (&first, &second) {
            (Value::Cidr(cidr), Some(address)) => Value::Bool(cidr.contains(to_ip(address)?)),
            _ => return Err(Fault::WrongType),
        },
        Function::Part(part) => Value::Int(date_part(part, &first, second.as_ref())?),
    })
}

/// Reads a number as JSON writes it. The module has JSON's reader and writer of numbers anyway; a second pair would add
/// some 30 KB.
pub(super) fn parse_double(text: &str) -> Option<f64> {
    let number: serde_json::Number = serde_json::from_str(text).ok()?;
    let is_plain = text.len() <= 64 && !text.contains(|character: char| character.is_ascii_whitespace());
    number.as_f64().filter(|number| is_plain && number.is_finite())
}

fn size(value: &Value<'_>) -> Result<i64, Fault> {
    let size = match value {
        Value::Text(text) => text.chars().count(),
        Value::List(List::Json(elements)) => elements.len(),
        Value::List(List::Made(elements)) => elements.len(),
        Value::Map(Map::Json(members)) => members.len(),
        Value::Map(Map::Made(members)) => members.len(),
        _ => return Err(Fault::WrongType),
    };
    i64::try_from(size).map_err(|_| Fault::Arithmetic)
}

fn to_int(value: &Value<'_>) -> Result<i64, Fault> {
    const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;
    match value {
        Value::Int(number) => Ok(*number),
        Value::Double(number) if (-TWO_TO_63..TWO_TO_63).contains(number) => Ok(*number as i64),
        Value::Double(_) => Err(Fault::Arithmetic),
        Value::Text(text) => {
            // Rust would take a plus sign too.
            let number = if text.starts_with('+') { None } else { text.parse().ok() };
            number.ok_or(Fault::Unreadable("whole number"))
        }
        Value::Timestamp(instant) => i64::try_from(instant.div_euclid(SECOND)).map_err(|_| Fault::Arithmetic),
        _ => Err(Fault::WrongType),
    }
}

fn to_ip(value: &Value<'_>) -> Result<IpAddr, Fault> {
    match value {
        Value::Ip(address) => Ok(*address),
        Value::Text(text) => parse_ip(text).ok_or(Fault::Unreadable("address")),
        _ => Err(Fault::WrongType),
    }
}

fn date_part(part: Part, of: &Value<'_>, offset: Option<&Value<'_>>) -> Result<i64, Fault> {
    if let (Value::Duration(span), None) = (of, offset) {
        let unit = match part {
            Part::Hours => 3_600 * SECOND,
            Part::Minutes => 60 * SECOND,
            Part::Seconds => SECOND,
            Part::Milliseconds => return i64::try_from(span % SECOND / 1_000_000).map_err(|_| Fault::Arithmetic),
            _ => return Err(Fault::WrongType),
        };
        return i64::try_from(span / unit).map_err(|_| Fault::Arithmetic);
    }
    let Value::Timestamp(instant) = of else { return Err(Fault::WrongType) };
    let offset = match offset {
        None => 0,
        Some(Value::Text(text)) => calendar::parse_offset(text).ok_or(Fault::Unreadable("offset from UTC"))?,
        Some(_) => return Err(Fault::WrongType),
    };
    let civil = Civil::of(*instant, offset).ok_or(Fault::Arithmetic)?;
    Ok(match part {
        Part::FullYear => civil.year,
        Part::Month => civil.month.saturating_sub(1),
        Part::Date => civil.day,
        Part::DayOfMonth => civil.day.saturating_sub(1),
        Part::DayOfYear => civil.day_of_year,
        Part::DayOfWeek => civil.day_of_week,
        Part::Hours => civil.hour,
        Part::Minutes => civil.minute,
        Part::Seconds => civil.second,
        Part::Milliseconds => civil.millisecond,
    })
}
