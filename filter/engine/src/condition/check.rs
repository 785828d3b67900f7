//! From the tree as it is written to the checked expression: every name is known, and types agree as far as they are known.

use portcullis_pattern::Pattern;

use super::error::CompileError;
use super::evaluate;
use super::expression::{ATTRIBUTES, Attribute, Expression, FUNCTIONS, Kind, Quantifier, ROOTS, Root, Signature, Type};
use super::parser::{Form, Operator, Tree};
use super::value::Value;
use crate::config::suggest;

/// Macros inside of macros: each multiplies what one request costs.
const MAX_QUANTIFIERS: usize = 2;

/// What an expression may speak of.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    /// The variables of the rule's path; `None`: they differ from request to request, and are looked for then.
    pub path_variables: Option<&'a [&'a str]>,
    /// Whether a caller can be identified at all.
    pub identified: bool,
}

/// A checked expression, and whether it reads who calls.
pub(super) struct Checked {
    pub expression: Expression,
    pub reads_identity: bool,
}

/// Checks a whole condition.
pub(super) fn check(tree: &Tree, names: &Names<'_>) -> Result<Checked, CompileError> {
    let mut checker = Checker { names, locals: Vec::new(), reads_identity: false };
    let (expression, found) = checker.value(tree)?;
    if !found.may_be(Type::Bool) {
        let problem = format!("a condition is true or false, this is {}", found.words());
        return Err(CompileError::new(tree.column, problem, "compare it with something"));
    }
    Ok(Checked { expression, reads_identity: checker.reads_identity })
}

type Typed = (Expression, Type);

struct Checker<'n> {
    names: &'n Names<'n>,
    locals: Vec<String>,
    reads_identity: bool,
}

impl Checker<'_> {
    /// A value; the maps of the request are none of their own.
    fn value(&mut self, tree: &Tree) -> Result<Typed, CompileError> {
        let (expression, found) = self.any(tree)?;
        match expression.kind {
            Kind::Root(root @ (Root::Headers | Root::Query | Root::Path)) => {
                let (what, example) = match root {
                    Root::Headers => ("the headers", "headers[\"x-tenant\"]"),
                    Root::Query => ("the query", "query.tenant"),
                    Root::Path | Root::Claims => ("the path's variables", "path.id"),
                };
                let hint = format!("write {example}, has(...), or \"name\" in ...");
                Err(CompileError::new(tree.column, format!("{what} as a whole are no value"), hint))
            }
            _ => Ok((expression, found)),
        }
    }

    fn any(&mut self, tree: &Tree) -> Result<Typed, CompileError> {
        let column = tree.column;
        let (kind, found) = match &tree.form {
            Form::Null => (Kind::Fixed(Value::Null), Type::Null),
            Form::Bool(value) => (Kind::Fixed(Value::Bool(*value)), Type::Bool),
            Form::Int(number) => (Kind::Fixed(Value::Int(*number)), Type::Int),
            Form::Double(number) => (Kind::Fixed(Value::Double(*number)), Type::Double),
            Form::Text(text) => (Kind::Text(text.as_str().into()), Type::Text),
            Form::Name(name) => self.name(column, name)?,
            Form::Member(of, name) => match self.qualified(tree)? {
                Some(found) => found,
                None => {
                    let of = self.container(of, Some((column, name)))?;
                    let found = member_type(&of);
                    (Kind::Member(Box::new(of), name.as_str().into()), found)
                }
            },
            Form::Index(of, key) => self.index(of, key)?,
            Form::Call { on: None, name, arguments } if name == "has" => self.has(column, arguments)?,
            Form::Call { on: Some(on), name, arguments } if quantifier(name).is_some() => {
                self.quantified(column, on, name, arguments)?
            }
            Form::Call { on, name, arguments } => self.call(column, on.as_deref(), name, arguments)?,
            Form::List(elements) => {
                let elements: Result<Vec<_>, _> = elements.iter().map(|tree| Ok(self.value(tree)?.0)).collect();
                (Kind::List(elements?), Type::List)
            }
            Form::Map(entries) => self.map(entries)?,
            Form::Not(inner) => (Kind::Not(Box::new(self.of_type(inner, &[Type::Bool], "`!`")?.0)), Type::Bool),
            Form::Negative(inner) => {
                let wanted = [Type::Int, Type::Double, Type::Duration];
                let (inner, found) = self.of_type(inner, &wanted, "`-`")?;
                (Kind::Negative(Box::new(inner)), found)
            }
            Form::And(parts) => (Kind::And(self.truths(parts, "`&&`")?), Type::Bool),
            Form::Or(parts) => (Kind::Or(self.truths(parts, "`||`")?), Type::Bool),
            Form::Binary(operator, left, right) => self.binary(column, *operator, left, right)?,
            Form::Choice(condition, then, otherwise) => {
                let condition = self.of_type(condition, &[Type::Bool], "`?`")?.0;
                let ((then, a), (otherwise, b)) = (self.value(then)?, self.value(otherwise)?);
                let kind = Kind::Choice(Box::new(condition), Box::new(then), Box::new(otherwise));
                (kind, if a == b { a } else { Type::Any })
            }
        };
        Ok((Expression { column, kind }, found))
    }

    fn truths(&mut self, parts: &[Tree], of: &str) -> Result<Vec<Expression>, CompileError> {
        parts.iter().map(|part| Ok(self.of_type(part, &[Type::Bool], of)?.0)).collect()
    }

    fn of_type(&mut self, tree: &Tree, wanted: &[Type], of: &str) -> Result<Typed, CompileError> {
        let (expression, found) = self.value(tree)?;
        if wanted.iter().any(|wanted| found.may_be(*wanted)) {
            return Ok((expression, found));
        }
        let wanted: Vec<&str> = wanted.iter().map(|wanted| wanted.words()).collect();
        let problem = format!("{of} needs {}, this is {}", wanted.join(" or "), found.words());
        Err(CompileError::new(tree.column, problem, ""))
    }

    fn name(&mut self, column: u32, name: &str) -> Result<(Kind, Type), CompileError> {
        if let Some(slot) = self.locals.iter().rposition(|local| local == name) {
            return Ok((Kind::Local(slot), Type::Any));
        }
        if let Some((_, root)) = ROOTS.iter().find(|(known, _)| *known == name) {
            return self.root(column, *root);
        }
        if let Some((_, attribute, found)) = ATTRIBUTES.iter().find(|(known, ..)| *known == name) {
            return Ok((Kind::Attribute(*attribute), *found));
        }
        let below: Vec<&str> = qualified_names().filter(|known| known.split('.').next() == Some(name)).collect();
        if let [first, ..] = below.as_slice() {
            let hint = format!("such as {first}; known: {}", below.join(", "));
            return Err(CompileError::new(column, format!("`{name}` alone is no value"), hint));
        }
        if name == "has" || FUNCTIONS.iter().any(|function| function.name == name) {
            let hint = format!("write {name}(...)");
            return Err(CompileError::new(column, format!("`{name}` is a function"), hint));
        }
        let hint = match (name, suggest::nearest(name, plain_names())) {
            ("claims" | "token" | "user" | "principal" | "identity" | "sub", _) => "did you mean `jwt.sub`?".to_owned(),
            ("ip" | "address" | "remote_addr", _) => "did you mean `source.address`?".to_owned(),
            (_, Some(near)) => format!("did you mean `{near}`?"),
            (_, None) => format!("known: {}", plain_names().collect::<Vec<_>>().join(", ")),
        };
        Err(CompileError::new(column, format!("there is no variable `{name}`"), hint))
    }

    fn root(&mut self, column: u32, root: Root) -> Result<(Kind, Type), CompileError> {
        if root == Root::Claims {
            self.identity_is_read(column)?;
        }
        Ok((Kind::Root(root), Type::Map))
    }

    fn identity_is_read(&mut self, column: u32) -> Result<(), CompileError> {
        if !self.names.identified {
            let hint = "the rule lets everybody pass: set `require` instead of `allow`";
            return Err(CompileError::new(column, "nobody is identified here", hint).about_identity());
        }
        self.reads_identity = true;
        Ok(())
    }

    /// `request.method` and the like: two names that stand for one thing.
    fn qualified(&mut self, tree: &Tree) -> Result<Option<(Kind, Type)>, CompileError> {
        let Form::Member(of, name) = &tree.form else { return Ok(None) };
        let Form::Name(space) = &of.form else { return Ok(None) };
        let is_space = qualified_names().any(|known| known.split('.').next() == Some(space));
        if !is_space || self.locals.contains(space) {
            return Ok(None);
        }
        let whole = format!("{space}.{name}");
        if let Some((_, root)) = ROOTS.iter().find(|(known, _)| *known == whole) {
            return self.root(tree.column, *root).map(Some);
        }
        if let Some((_, attribute, found)) = ATTRIBUTES.iter().find(|(known, ..)| *known == whole) {
            if *attribute == Attribute::Provider {
                self.identity_is_read(tree.column)?;
            }
            return Ok(Some((Kind::Attribute(*attribute), *found)));
        }
        let known: Vec<&str> = qualified_names().filter(|known| known.split('.').next() == Some(space)).collect();
        let hint = match suggest::nearest(&whole, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known: {}", known.join(", ")),
        };
        Err(CompileError::new(tree.column, format!("there is no `{whole}`"), hint))
    }

    /// What members are taken of. `name`: which one, where it is written down.
    fn container(&mut self, tree: &Tree, name: Option<(u32, &str)>) -> Result<Expression, CompileError> {
        let (expression, found) = self.any(tree)?;
        if !found.may_be(Type::Map) {
            let problem = format!("{} has no members", found.words());
            return Err(CompileError::new(name.map_or(tree.column, |(column, _)| column), problem, ""));
        }
        if let (Kind::Root(root), Some((column, name))) = (&expression.kind, name) {
            self.check_member(*root, column, name)?;
        }
        Ok(expression)
    }

    fn check_member(&self, root: Root, column: u32, name: &str) -> Result<(), CompileError> {
        match (root, self.names.path_variables) {
            (Root::Path, Some(known)) if !known.contains(&name) => {
                let hint = match (suggest::nearest(name, known.iter().copied()), known) {
                    (Some(near), _) => format!("did you mean `path.{near}`?"),
                    (None, []) => format!("name a segment in the rule's `match.path`, such as \"/users/{{{name}}}\""),
                    (None, known) => format!("the path has {}", suggest::listed(known)),
                };
                let problem = format!("the rule's `match.path` has no variable {{{name}}}");
                Err(CompileError::new(column, problem, hint).about_path())
            }
            (Root::Headers, _) if name.starts_with(':') => {
                let hint = "write request.method, request.path, request.scheme or request.host";
                Err(CompileError::new(column, format!("{name:?} is no header"), hint))
            }
            (Root::Headers, _) if name.eq_ignore_ascii_case("host") => {
                Err(CompileError::new(column, "HTTP/2 has no header \"host\"", "write request.host"))
            }
            _ => Ok(()),
        }
    }

    fn index(&mut self, of: &Tree, key: &Tree) -> Result<(Kind, Type), CompileError> {
        if let Form::Text(name) = &key.form {
            let of = self.container(of, Some((key.column, name)))?;
            let found = member_type(&of);
            return Ok((Kind::Member(Box::new(of), name.as_str().into()), found));
        }
        let (of_column, (of, found)) = (of.column, self.any(of)?);
        if !found.may_be(Type::Map) && !found.may_be(Type::List) {
            let problem = format!("{} has no elements", found.words());
            return Err(CompileError::new(of_column, problem, ""));
        }
        if matches!(of.kind, Kind::Root(Root::Path)) {
            let hint = "write path.id";
            return Err(CompileError::new(key.column, "a variable of the path is named as it is written", hint));
        }
        let wanted: &[Type] = match found {
            Type::List => &[Type::Int],
            Type::Map => &[Type::Text],
            _ => &[Type::Int, Type::Text],
        };
        let result = member_type(&of);
        let key = self.of_type(key, wanted, "`[]`")?.0;
        Ok((Kind::Index(Box::new(of), Box::new(key)), result))
    }

    fn has(&mut self, column: u32, arguments: &[Tree]) -> Result<(Kind, Type), CompileError> {
        let wrong = || CompileError::new(column, "has() asks for one member", "such as has(jwt.tenant)");
        let [argument] = arguments else { return Err(wrong()) };
        let (of, name) = match &argument.form {
            Form::Member(of, name) => {
                if let Some((kind, _)) = self.qualified(argument)? {
                    let Kind::Attribute(attribute) = kind else { return Err(wrong()) };
                    return Ok((Kind::HasAttribute(attribute), Type::Bool));
                }
                (of, name)
            }
            // CEL has no has(x["y"]), and names that are no words could not be asked for: so it is taken.
            Form::Index(of, key) => match &key.form {
                Form::Text(name) => (of, name),
                _ => return Err(wrong()),
            },
            _ => return Err(wrong()),
        };
        let of = self.container(of, Some((argument.column, name)))?;
        Ok((Kind::Has(Box::new(of), name.as_str().into()), Type::Bool))
    }

    fn quantified(
        &mut self,
        column: u32,
        on: &Tree,
        name: &str,
        arguments: &[Tree],
    ) -> Result<(Kind, Type), CompileError> {
        let hint = format!("such as jwt.groups.{name}(g, g == \"staff\")");
        let Some(quantifier) = quantifier(name).flatten() else {
            return Err(CompileError::new(column, format!("`{name}` is not known here"), "`exists` and `all` are"));
        };
        let [Tree { form: Form::Name(variable), column: at, .. }, body] = arguments else {
            return Err(CompileError::new(column, format!("{name}() asks for a variable and a condition"), hint));
        };
        if self.locals.len() >= MAX_QUANTIFIERS {
            let problem = format!("more than {MAX_QUANTIFIERS} of `exists` and `all` in one another");
            return Err(CompileError::new(column, problem, "one request could cost too much"));
        }
        if self.locals.contains(variable) || plain_names().any(|known| known.split('.').next() == Some(variable)) {
            return Err(CompileError::new(
                *at,
                format!("`{variable}` means something else already"),
                "use another name",
            ));
        }
        let over = self.of_type(on, &[Type::List, Type::Map], &format!("{name}()"))?.0;
        self.locals.push(variable.clone());
        let body = self.of_type(body, &[Type::Bool], &format!("{name}()"));
        self.locals.pop();
        Ok((Kind::Quantified { quantifier, over: Box::new(over), body: Box::new(body?.0) }, Type::Bool))
    }

    fn call(
        &mut self,
        column: u32,
        on: Option<&Tree>,
        name: &str,
        arguments: &[Tree],
    ) -> Result<(Kind, Type), CompileError> {
        let arguments: Vec<&Tree> = on.into_iter().chain(arguments).collect();
        if name == "matches" {
            return self.matches(column, &arguments);
        }
        let known: Vec<&Signature> = FUNCTIONS.iter().filter(|function| function.name == name).collect();
        let Some(signature) = known.iter().find(|signature| signature.is_method == on.is_some()) else {
            return Err(unknown_function(column, name, on.is_some(), &known));
        };
        if !(signature.required..=signature.arguments.len()).contains(&arguments.len()) {
            let skipped = usize::from(signature.is_method);
            let wanted = match (signature.required.saturating_sub(skipped), signature.arguments.len() - skipped) {
                (0, 0) => "nothing".to_owned(),
                (least, most) if least == most => least.to_string(),
                (least, most) => format!("{least} to {most}"),
            };
            return Err(CompileError::new(column, format!("{name}() takes {wanted} in its brackets"), ""));
        }
        let mut checked = Vec::with_capacity(arguments.len());
        for (argument, wanted) in arguments.iter().zip(signature.arguments) {
            checked.push(self.of_type(argument, wanted, &format!("{name}()"))?.0);
        }
        let constant = checked.iter().all(|argument| matches!(argument.kind, Kind::Text(_) | Kind::Fixed(_)));
        let kind = Kind::Call(signature.function, checked);
        if !constant {
            return Ok((kind, signature.result));
        }
        // A call on constants is made once, and its mistakes are found now: cidr("10.0.0.0/33").
        match evaluate::constant(&Expression { column, kind }) {
            Ok(Value::Text(text)) => Ok((Kind::Text(text.into()), signature.result)),
            Ok(value) => Ok((Kind::Fixed(value), signature.result)),
            Err(error) => {
                let hint = match name {
                    "cidr" => "such as cidr(\"10.0.0.0/8\"), without bits behind the prefix",
                    "timestamp" => "such as timestamp(\"2027-01-31T12:00:00Z\")",
                    "duration" => "such as duration(\"1h30m\")",
                    _ => "",
                };
                Err(CompileError::new(column, format!("{name}(): {}", error.fault_text()), hint))
            }
        }
    }

    fn matches(&mut self, column: u32, arguments: &[&Tree]) -> Result<(Kind, Type), CompileError> {
        let [text, pattern] = arguments else {
            return Err(CompileError::new(column, "matches() takes a text and an expression", "text.matches(r'^a+$')"));
        };
        let text = self.of_type(text, &[Type::Text], "matches()")?.0;
        let Form::Text(source) = &pattern.form else {
            let hint = "an expression from a token or a request could cost anything";
            return Err(CompileError::new(pattern.column, "the regular expression must be a text", hint));
        };
        let compiled = Pattern::of_text(source).map_err(|error| {
            let hint = "the syntax is that of RE2; it matches anywhere, unless it begins with ^ and ends with $";
            CompileError::new(pattern.column, format!("is no regular expression: {error}"), hint)
        })?;
        Ok((Kind::Matches(Box::new(text), compiled, source.len()), Type::Bool))
    }

    fn map(&mut self, entries: &[(Tree, Tree)]) -> Result<(Kind, Type), CompileError> {
        let mut made: Vec<(Box<str>, Expression)> = Vec::new();
        for (key, value) in entries {
            let Form::Text(name) = &key.form else {
                return Err(CompileError::new(key.column, "the name of a member must be a text", "{\"gold\": 3}"));
            };
            if made.iter().any(|(known, _)| **known == **name) {
                return Err(CompileError::new(key.column, format!("{name:?} stands twice"), ""));
            }
            made.push((name.as_str().into(), self.value(value)?.0));
        }
        Ok((Kind::Map(made), Type::Map))
    }

    fn binary(
        &mut self,
        column: u32,
        operator: Operator,
        left: &Tree,
        right: &Tree,
    ) -> Result<(Kind, Type), CompileError> {
        if operator == Operator::In {
            return self.membership(column, left, right);
        }
        let ((left, a), (right, b)) = (self.value(left)?, self.value(right)?);
        let mismatch = |verb: &str| {
            let problem = format!("{} cannot be {verb} {}", a.words(), b.words());
            let hint = match (a, b) {
                (Type::Text, Type::Int) | (Type::Int, Type::Text) => {
                    "turn one into the other with int(...) or string(...)"
                }
                (Type::Int, Type::Double) | (Type::Double, Type::Int) => "turn one into the other with double(...)",
                (Type::Timestamp, Type::Text) | (Type::Text, Type::Timestamp) => "write timestamp(\"...\")",
                (Type::Timestamp, Type::Int) | (Type::Int, Type::Timestamp) => "write timestamp(...)",
                _ => "",
            };
            CompileError::new(column, problem, hint)
        };
        let comparable = a.may_be(b) || (a.is_number() && b.is_number());
        let (l, r) = (Box::new(left), Box::new(right));
        match operator {
            Operator::Equal | Operator::NotEqual if comparable => {
                let negated = operator == Operator::NotEqual;
                Ok((Kind::Equal { left: l, right: r, negated }, Type::Bool))
            }
            Operator::Less | Operator::LessOrEqual | Operator::Greater | Operator::GreaterOrEqual
                if comparable && has_order(a) && has_order(b) =>
            {
                Ok((Kind::Order(operator, l, r), Type::Bool))
            }
            Operator::Add | Operator::Subtract | Operator::Multiply | Operator::Divide | Operator::Remainder => {
                let result = arithmetic(operator, a, b).ok_or_else(|| mismatch("calculated with"))?;
                Ok((Kind::Arithmetic(operator, l, r), result))
            }
            _ => Err(mismatch("compared with")),
        }
    }

    fn membership(&mut self, column: u32, left: &Tree, right: &Tree) -> Result<(Kind, Type), CompileError> {
        let (wanted, found) = self.value(left)?;
        let (within, place) = self.any(right)?;
        if place == Type::Text {
            let hint = "`in` looks into lists and maps; for a part of a text write text.contains(part)";
            return Err(CompileError::new(column, "text has no elements", hint));
        }
        if !place.may_be(Type::List) && !place.may_be(Type::Map) {
            return Err(CompileError::new(column, format!("{} has no elements", place.words()), ""));
        }
        if place == Type::Map && !found.may_be(Type::Text) {
            return Err(CompileError::new(column, "the members of a map are named by text", ""));
        }
        match (&within.kind, &wanted.kind) {
            (Kind::Root(root), Kind::Text(name)) => {
                self.check_member(*root, left.column, name)?;
                Ok((Kind::Has(Box::new(within), name.clone()), Type::Bool))
            }
            (Kind::Root(Root::Path), _) => {
                Err(CompileError::new(column, "a variable of the path is named as it is written", "has(path.id)"))
            }
            (Kind::List(elements), _)
                if elements.iter().all(|element| matches!(element.kind, Kind::Text(_) | Kind::Fixed(_))) =>
            {
                Ok((Kind::OneOf(Box::new(wanted), elements.clone()), Type::Bool))
            }
            _ => Ok((Kind::In(Box::new(wanted), Box::new(within)), Type::Bool)),
        }
    }
}

fn member_type(of: &Expression) -> Type {
    match of.kind {
        Kind::Root(Root::Headers | Root::Query | Root::Path) => Type::Text,
        _ => Type::Any,
    }
}

/// `Some(None)`: a macro of CEL that is not known here.
fn quantifier(name: &str) -> Option<Option<Quantifier>> {
    match name {
        "all" => Some(Some(Quantifier::All)),
        "exists" => Some(Some(Quantifier::Exists)),
        "exists_one" => Some(Some(Quantifier::ExistsOne)),
        "map" | "filter" => Some(None),
        _ => None,
    }
}

fn has_order(found: Type) -> bool {
    !matches!(found, Type::Null | Type::List | Type::Map | Type::Ip | Type::Cidr)
}

/// The type of a calculation, or `None` where there is none.
fn arithmetic(operator: Operator, a: Type, b: Type) -> Option<Type> {
    use Operator::{Add, Divide, Multiply, Remainder, Subtract};
    const TYPES: &[Type] = &[Type::Int, Type::Double, Type::Text, Type::List, Type::Timestamp, Type::Duration];
    let result = |a: Type, b: Type| match (operator, a, b) {
        (Remainder, Type::Int, Type::Int) => Some(Type::Int),
        (Add | Subtract | Multiply | Divide, Type::Int, Type::Int) => Some(Type::Int),
        (Add | Subtract | Multiply | Divide, Type::Double, Type::Double) => Some(Type::Double),
        (Add, Type::Text, Type::Text) => Some(Type::Text),
        (Add, Type::List, Type::List) => Some(Type::List),
        (Add, Type::Timestamp, Type::Duration) | (Add, Type::Duration, Type::Timestamp) => Some(Type::Timestamp),
        (Subtract, Type::Timestamp, Type::Duration) => Some(Type::Timestamp),
        (Subtract, Type::Timestamp, Type::Timestamp) => Some(Type::Duration),
        (Add | Subtract, Type::Duration, Type::Duration) => Some(Type::Duration),
        _ => None,
    };
    let choices = |found: Type| TYPES.iter().copied().filter(move |choice| found.may_be(*choice));
    let mut results = choices(a).flat_map(|a| choices(b).filter_map(move |b| result(a, b)));
    let first = results.next()?;
    Some(if results.all(|other| other == first) { first } else { Type::Any })
}

fn unknown_function(column: u32, name: &str, is_method: bool, known: &[&Signature]) -> CompileError {
    if !known.is_empty() {
        let hint = if is_method { format!("write {name}(...)") } else { format!("write value.{name}(...)") };
        return CompileError::new(column, format!("`{name}` is not called like this"), hint);
    }
    let names = FUNCTIONS.iter().map(|function| function.name).chain(["has", "matches", "exists", "all", "exists_one"]);
    let hint = match (name, suggest::nearest(name, names.clone())) {
        ("inIpRange" | "ip_in" | "in_cidr" | "cidrMatch", _) => {
            "write cidr(\"10.0.0.0/8\").containsIP(source.address)".to_owned()
        }
        (_, Some(near)) => format!("did you mean `{near}`?"),
        (_, None) => {
            let mut names: Vec<&str> = names.collect();
            names.dedup();
            format!("known: {}", names.join(", "))
        }
    };
    CompileError::new(column, format!("there is no function `{name}`"), hint)
}

/// Every name that stands for a value, as it is written.
fn plain_names() -> impl Iterator<Item = &'static str> {
    ROOTS.iter().map(|(name, _)| *name).chain(ATTRIBUTES.iter().map(|(name, ..)| *name))
}

fn qualified_names() -> impl Iterator<Item = &'static str> {
    plain_names().filter(|name| name.contains('.'))
}
