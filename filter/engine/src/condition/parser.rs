//! From words to a tree, by the grammar of CEL.
//!
//! Sizes are bounded here, so that nothing behind has to care: a tree has at most [`MAX_NODES`] nodes and [`MAX_DEPTH`] levels.

use super::error::CompileError;
use super::lexer::{Token, Word, words};

/// The longest expression, in bytes.
pub(super) const MAX_BYTES: usize = 4096;
/// The most nodes of one expression.
const MAX_NODES: usize = 512;
/// The deepest nesting: evaluation descends one level of calls for each.
const MAX_DEPTH: u32 = 24;

/// A node of the tree as it is written.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tree {
    pub column: u32,
    pub form: Form,
    depth: u32,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Form {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(String),
    Name(String),
    /// `of.member`
    Member(Box<Tree>, String),
    /// `of[key]`
    Index(Box<Tree>, Box<Tree>),
    /// `name(arguments)`, or `on.name(arguments)`.
    Call {
        on: Option<Box<Tree>>,
        name: String,
        arguments: Vec<Tree>,
    },
    List(Vec<Tree>),
    Map(Vec<(Tree, Tree)>),
    Not(Box<Tree>),
    Negative(Box<Tree>),
    /// All of a chain of `&&`.
    And(Vec<Tree>),
    /// All of a chain of `||`.
    Or(Vec<Tree>),
    Binary(Operator, Box<Tree>, Box<Tree>),
    Choice(Box<Tree>, Box<Tree>, Box<Tree>),
}

/// An operator between two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// Words that CEL keeps for other languages.
const RESERVED: &[&str] = &[
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// Reads an expression.
pub(super) fn parse(source: &str) -> Result<Tree, CompileError> {
    if source.len() > MAX_BYTES {
        let problem = format!("the expression is longer than {MAX_BYTES} bytes");
        return Err(CompileError::new(1, problem, "write several conditions: all of them must hold"));
    }
    let tokens = words(source)?;
    let mut parser = Parser { tokens: tokens.into_iter().peekable(), nodes: 0, depth: 0 };
    let tree = parser.choice()?;
    match parser.next() {
        Token { word: Word::End, .. } => Ok(tree),
        other => Err(unexpected(&other, "an operator or the end")),
    }
}

fn unexpected(token: &Token, wanted: &str) -> CompileError {
    let found = match &token.word {
        Word::Name(name) => format!("{name:?}"),
        Word::Whole(_) | Word::Double(_) => "a number".to_owned(),
        Word::Text(_) => "a text".to_owned(),
        Word::Sign(sign) => format!("`{sign}`"),
        Word::End => "the end".to_owned(),
    };
    let hint = match &token.word {
        Word::Name(name) if name.eq_ignore_ascii_case("and") => "write `&&` for \"and\"",
        Word::Name(name) if name.eq_ignore_ascii_case("or") => "write `||` for \"or\"",
        Word::Name(name) if name.eq_ignore_ascii_case("not") => "write `!` for \"not\"",
        _ => "",
    };
    CompileError::new(token.column, format!("expected {wanted}, found {found}"), hint)
}

struct Parser {
    tokens: std::iter::Peekable<std::vec::IntoIter<Token>>,
    nodes: usize,
    depth: u32,
}

impl Parser {
    fn next(&mut self) -> Token {
        self.tokens.next().unwrap_or(Token { column: 0, word: Word::End })
    }

    fn sign(&mut self, sign: &str) -> Option<u32> {
        let taken = self.tokens.next_if(|token| matches!(token.word, Word::Sign(found) if found == sign));
        taken.map(|token| token.column)
    }

    fn expect(&mut self, sign: &'static str) -> Result<(), CompileError> {
        match self.sign(sign) {
            Some(_) => Ok(()),
            None => Err(unexpected(&self.next(), &format!("`{sign}`"))),
        }
    }

    /// Makes a node whose parts are `depth` levels deep.
    fn node(&mut self, column: u32, form: Form, depth: u32) -> Result<Tree, CompileError> {
        self.nodes = self.nodes.saturating_add(1);
        let depth = depth.saturating_add(1);
        if self.nodes > MAX_NODES || depth > MAX_DEPTH {
            let (what, most) = if depth > MAX_DEPTH {
                ("nests more than", u64::from(MAX_DEPTH))
            } else {
                ("has more parts than", u64::try_from(MAX_NODES).unwrap_or(u64::MAX))
            };
            let hint = "write several conditions: all of them must hold";
            return Err(CompileError::new(column, format!("the expression {what} {most}"), hint));
        }
        Ok(Tree { column, form, depth })
    }

    /// A whole expression, one level deeper.
    fn choice(&mut self) -> Result<Tree, CompileError> {
        self.depth = self.depth.saturating_add(1);
        if self.depth > MAX_DEPTH {
            let token = self.next();
            return Err(CompileError::new(
                token.column,
                format!("the expression nests more than {MAX_DEPTH}"),
                "write several conditions: all of them must hold",
            ));
        }
        let condition = self.chain(true)?;
        let tree = if let Some(column) = self.sign("?") {
            let then = self.chain(true)?;
            self.expect(":")?;
            let otherwise = self.choice()?;
            let depth = condition.depth.max(then.depth).max(otherwise.depth);
            self.node(column, Form::Choice(Box::new(condition), Box::new(then), Box::new(otherwise)), depth)?
        } else {
            condition
        };
        self.depth = self.depth.saturating_sub(1);
        Ok(tree)
    }

    /// A chain of `||`, or of `&&` inside of it. A chain is one node, however long it is.
    fn chain(&mut self, or: bool) -> Result<Tree, CompileError> {
        let first = if or { self.chain(false)? } else { self.binary(0)? };
        let (mut depth, mut column, mut all) = (first.depth, first.column, vec![first]);
        while let Some(at) = self.sign(if or { "||" } else { "&&" }) {
            column = at;
            let next = if or { self.chain(false)? } else { self.binary(0)? };
            depth = depth.max(next.depth);
            all.push(next);
        }
        match all.pop() {
            Some(only) if all.is_empty() => Ok(only),
            Some(last) => {
                all.push(last);
                self.node(column, if or { Form::Or(all) } else { Form::And(all) }, depth)
            }
            None => Err(CompileError::new(column, "is empty", "")),
        }
    }

    /// Comparisons (level 0), sums (1), products (2).
    fn binary(&mut self, level: u8) -> Result<Tree, CompileError> {
        let mut left = if level < 2 { self.binary(level.saturating_add(1))? } else { self.signed()? };
        while let Some((column, operator)) = self.operator(level) {
            let right = if level < 2 { self.binary(level.saturating_add(1))? } else { self.signed()? };
            let depth = left.depth.max(right.depth);
            left = self.node(column, Form::Binary(operator, Box::new(left), Box::new(right)), depth)?;
        }
        Ok(left)
    }

    fn operator(&mut self, level: u8) -> Option<(u32, Operator)> {
        let operator = |word: &Word| {
            Some(match (level, word) {
                (0, Word::Sign("==")) => Operator::Equal,
                (0, Word::Sign("!=")) => Operator::NotEqual,
                (0, Word::Sign("<")) => Operator::Less,
                (0, Word::Sign("<=")) => Operator::LessOrEqual,
                (0, Word::Sign(">")) => Operator::Greater,
                (0, Word::Sign(">=")) => Operator::GreaterOrEqual,
                (0, Word::Name(name)) if name == "in" => Operator::In,
                (1, Word::Sign("+")) => Operator::Add,
                (1, Word::Sign("-")) => Operator::Subtract,
                (2, Word::Sign("*")) => Operator::Multiply,
                (2, Word::Sign("/")) => Operator::Divide,
                (2, Word::Sign("%")) => Operator::Remainder,
                _ => return None,
            })
        };
        let found = self.tokens.peek().and_then(|token| Some((token.column, operator(&token.word)?)))?;
        self.next();
        Some(found)
    }

    /// A value with its `!` or `-` before it.
    fn signed(&mut self) -> Result<Tree, CompileError> {
        if let Some(column) = self.sign("!") {
            let mut even = false;
            while self.sign("!").is_some() {
                even = !even;
            }
            let inner = self.member()?;
            let depth = inner.depth;
            let not = self.node(column, Form::Not(Box::new(inner)), depth)?;
            if !even {
                return Ok(not);
            }
            let depth = not.depth;
            return self.node(column, Form::Not(Box::new(not)), depth);
        }
        let Some(column) = self.sign("-") else { return self.member() };
        // `-9223372036854775808` is a number, though its magnitude alone is none.
        if let Some(token) = self.tokens.next_if(|token| matches!(token.word, Word::Whole(_)))
            && let Word::Whole(magnitude) = token.word
        {
            let number = 0_i64.checked_sub_unsigned(magnitude);
            let number = number.ok_or_else(|| CompileError::new(column, "is too small for a whole number", ""))?;
            let first = self.node(column, Form::Int(number), 0)?;
            return self.members_of(first);
        }
        if self.tokens.peek().is_some_and(|token| token.word == Word::Sign("-")) {
            return Err(CompileError::new(column, "two signs in a row", "write one `-`, or brackets"));
        }
        let inner = self.member()?;
        let depth = inner.depth;
        self.node(column, Form::Negative(Box::new(inner)), depth)
    }

    fn member(&mut self) -> Result<Tree, CompileError> {
        let first = self.primary()?;
        self.members_of(first)
    }

    /// What follows a value: `.name`, `.name(...)` and `[key]`.
    fn members_of(&mut self, mut of: Tree) -> Result<Tree, CompileError> {
        loop {
            if self.sign(".").is_some() {
                let token = self.next();
                let Word::Name(name) = token.word else { return Err(unexpected(&token, "a name")) };
                of = if self.sign("(").is_some() {
                    let (arguments, depth) = self.list(")")?;
                    let depth = depth.max(of.depth);
                    self.node(token.column, Form::Call { on: Some(Box::new(of)), name, arguments }, depth)?
                } else {
                    let depth = of.depth;
                    self.node(token.column, Form::Member(Box::new(of), name), depth)?
                };
            } else if let Some(column) = self.sign("[") {
                let key = self.choice()?;
                self.expect("]")?;
                let depth = of.depth.max(key.depth);
                of = self.node(column, Form::Index(Box::new(of), Box::new(key)), depth)?;
            } else {
                return Ok(of);
            }
        }
    }

    fn primary(&mut self) -> Result<Tree, CompileError> {
        let token = self.next();
        let column = token.column;
        match token.word {
            Word::Whole(number) => {
                let number = i64::try_from(number);
                let number = number.map_err(|_| CompileError::new(column, "is too large for a whole number", ""))?;
                self.node(column, Form::Int(number), 0)
            }
            Word::Double(number) => self.node(column, Form::Double(number), 0),
            Word::Text(text) => self.node(column, Form::Text(text), 0),
            Word::Name(name) => match name.as_str() {
                "true" => self.node(column, Form::Bool(true), 0),
                "false" => self.node(column, Form::Bool(false), 0),
                "null" => self.node(column, Form::Null, 0),
                "in" => Err(unexpected(&Token { column, word: Word::Name(name) }, "a value")),
                reserved if RESERVED.contains(&reserved) => {
                    let problem = format!("{name:?} is a word that CEL keeps for itself");
                    Err(CompileError::new(column, problem, "for a choice write `condition ? this : that`"))
                }
                _ if self.sign("(").is_some() => {
                    let (arguments, depth) = self.list(")")?;
                    self.node(column, Form::Call { on: None, name, arguments }, depth)
                }
                _ => self.node(column, Form::Name(name), 0),
            },
            Word::Sign("(") => {
                let inner = self.choice()?;
                self.expect(")")?;
                Ok(inner)
            }
            Word::Sign("[") => {
                let (elements, depth) = self.list("]")?;
                self.node(column, Form::List(elements), depth)
            }
            Word::Sign("{") => self.map(column),
            word => Err(unexpected(&Token { column, word }, "a value")),
        }
    }

    /// Values up to `end`, and how deep the deepest is.
    fn list(&mut self, end: &'static str) -> Result<(Vec<Tree>, u32), CompileError> {
        let (mut elements, mut depth): (Vec<Tree>, u32) = (Vec::new(), 0);
        loop {
            // Also behind a comma at the end, as CEL has it.
            if self.sign(end).is_some() {
                return Ok((elements, depth));
            }
            let element = self.choice()?;
            depth = depth.max(element.depth);
            elements.push(element);
            if self.sign(",").is_none() {
                self.expect(end)?;
                return Ok((elements, depth));
            }
        }
    }

    fn map(&mut self, column: u32) -> Result<Tree, CompileError> {
        let (mut entries, mut depth): (Vec<(Tree, Tree)>, u32) = (Vec::new(), 0);
        loop {
            if self.sign("}").is_some() {
                break;
            }
            let key = self.choice()?;
            self.expect(":")?;
            let value = self.choice()?;
            depth = depth.max(key.depth).max(value.depth);
            entries.push((key, value));
            if self.sign(",").is_none() {
                self.expect("}")?;
                break;
            }
        }
        self.node(column, Form::Map(entries), depth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree with every operation in brackets.
    fn shown(tree: &Tree) -> String {
        let all = |trees: &[Tree], between: &str| trees.iter().map(shown).collect::<Vec<_>>().join(between);
        match &tree.form {
            Form::Null => "null".to_owned(),
            Form::Bool(value) => value.to_string(),
            Form::Int(number) => number.to_string(),
            Form::Double(number) => format!("{number:?}"),
            Form::Text(text) => format!("{text:?}"),
            Form::Name(name) => name.clone(),
            Form::Member(of, name) => format!("{}.{name}", shown(of)),
            Form::Index(of, key) => format!("{}[{}]", shown(of), shown(key)),
            Form::Call { on: Some(on), name, arguments } => format!("{}.{name}({})", shown(on), all(arguments, ", ")),
            Form::Call { on: None, name, arguments } => format!("{name}({})", all(arguments, ", ")),
            Form::List(elements) => format!("[{}]", all(elements, ", ")),
            Form::Map(entries) => {
                let entries: Vec<_> = entries.iter().map(|(k, v)| format!("{}: {}", shown(k), shown(v))).collect();
                format!("{{{}}}", entries.join(", "))
            }
            Form::Not(inner) => format!("!{}", shown(inner)),
            Form::Negative(inner) => format!("-{}", shown(inner)),
            Form::And(parts) => format!("({})", all(parts, " && ")),
            Form::Or(parts) => format!("({})", all(parts, " || ")),
            Form::Binary(operator, left, right) => format!("({} {operator:?} {})", shown(left), shown(right)),
            Form::Choice(c, a, b) => format!("({} ? {} : {})", shown(c), shown(a), shown(b)),
        }
    }

    fn read(source: &str) -> String {
        shown(&parse(source).unwrap_or_else(|error| panic!("{source}: {error}")))
    }

    #[test]
    fn operators_bind_as_in_cel() {
        assert_eq!(read("a || b && c"), "(a || (b && c))");
        assert_eq!(read("!a && b || c"), "((!a && b) || c)");
        assert_eq!(read("a == b + c * -d"), "(a Equal (b Add (c Multiply -d)))");
        assert_eq!(read("a - b - c"), "((a Subtract b) Subtract c)");
        assert_eq!(read("a ? b : c ? d : e"), "(a ? b : (c ? d : e))");
        assert_eq!(read("a in [1, 2,] == true"), "((a In [1, 2]) Equal true)");
        assert_eq!(read("!!a && !!!b"), "(!!a && !b)");
        assert_eq!(read("-9223372036854775808 < 1"), "(-9223372036854775808 Less 1)");
        assert_eq!(read("a.b['c'].d(e)[0]"), "a.b[\"c\"].d(e)[0]");
        assert_eq!(read("{'a': 1, 'b': [2]}['a']"), "{\"a\": 1, \"b\": [2]}[\"a\"]");
        assert_eq!(read("a.if.for"), "a.if.for");
    }

    #[test]
    fn a_mistake_is_found_where_it_stands() {
        for (source, column) in [
            ("", 1),
            ("a b", 3),
            ("a and b", 3),
            ("(a", 3),
            ("a)", 2),
            ("a ==", 5),
            ("a.", 3),
            ("a.1", 2),
            ("a[", 3),
            ("a ? b", 6),
            ("[1 2]", 4),
            ("{1}", 3),
            ("f(a b)", 5),
            ("if", 1),
            ("a == = b", 6),
            ("--a", 1),
            ("a && && b", 6),
            ("9223372036854775808", 1),
            ("in", 1),
            ("!", 2),
            ("a..b", 3),
        ] {
            assert_eq!(parse(source).map_err(|error| error.column), Err(column), "{source}");
        }
    }

    #[test]
    fn size_and_nesting_are_bounded() {
        let nested = |open: &str, close: &str, times: usize| format!("{}a{}", open.repeat(times), close.repeat(times));
        for (open, close) in [("(", ")"), ("[", "]"), ("f(", ")"), ("a[", "]"), ("!(", ")"), ("-(", ")"), ("{a: ", "}")]
        {
            assert!(parse(&nested(open, close, 10)).is_ok(), "{open}");
            for times in [25, 1000] {
                assert!(parse(&nested(open, close, times)).is_err(), "{open}");
            }
        }
        assert!(parse(&format!("a{}", ".b".repeat(30))).is_err());
        assert!(parse(&format!("a{}", " + b".repeat(30))).is_err());
        assert!(parse(&format!("a{}", " ? b : c".repeat(30))).is_err());
        assert!(parse(&format!("a{}", " && b".repeat(100))).is_ok(), "a chain is one level");
        assert!(parse(&format!("a{}", "||b".repeat(600))).is_err());
        assert!(parse(&" ".repeat(5000)).is_err());
    }
}
