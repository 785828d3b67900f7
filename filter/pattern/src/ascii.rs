//! Expressions as both alphabets have them: classes of Perl are those of ASCII, as in ECMA-262 and RE2, and what needs the tables of
//! Unicode is refused.

use std::borrow::Cow;
use std::ops::Range;

use regex_syntax::ast::parse::Parser;
use regex_syntax::ast::{
    self, AssertionKind, Ast, ClassPerl, ClassPerlKind, ClassSetItem, Flag, Flags, FlagsItemKind, GroupKind, Visitor,
};

/// The expression with `\w`, `\d`, `\s` and their kin spelled out.
pub fn spelled_out(source: &str) -> Result<Cow<'_, str>, String> {
    let ast = Parser::new().parse(source).map_err(|error| error.kind().to_string())?;
    let places = ast::visit(&ast, Places(Vec::new()))?;
    if places.is_empty() {
        return Ok(source.into());
    }
    let mut spelled = String::with_capacity(source.len() + 16 * places.len());
    let mut copied = 0;
    for (place, instead) in places {
        spelled.push_str(source.get(copied..place.start).unwrap_or_default());
        let written = source.get(place.clone()).unwrap_or_default();
        match instead {
            Instead::Class(class) => spelled.push_str(class),
            Instead::BytesWise => {
                spelled.push_str("(?-u:");
                spelled.push_str(written);
                spelled.push(')');
            }
        }
        copied = place.end;
    }
    spelled.push_str(source.get(copied..).unwrap_or_default());
    Ok(spelled.into())
}

enum Instead {
    Class(&'static str),
    /// What is about borders of words looks at bytes.
    BytesWise,
}

/// What is to be written in other words, in the order of the expression.
struct Places(Vec<(Range<usize>, Instead)>);

impl Places {
    fn perl(&mut self, class: &ClassPerl) {
        let spelled = match (&class.kind, class.negated) {
            (ClassPerlKind::Digit, false) => "[0-9]",
            (ClassPerlKind::Digit, true) => "[^0-9]",
            (ClassPerlKind::Space, false) => r"[\t-\r\x20]",
            (ClassPerlKind::Space, true) => r"[^\t-\r\x20]",
            (ClassPerlKind::Word, false) => "[0-9A-Za-z_]",
            (ClassPerlKind::Word, true) => "[^0-9A-Za-z_]",
        };
        self.0.push((class.span.start.offset..class.span.end.offset, Instead::Class(spelled)));
    }
}

impl Visitor for Places {
    type Output = Vec<(Range<usize>, Instead)>;
    type Err = String;

    fn finish(self) -> Result<Self::Output, Self::Err> {
        Ok(self.0)
    }

    fn visit_pre(&mut self, ast: &Ast) -> Result<(), Self::Err> {
        use AssertionKind::{EndLine, EndText, StartLine, StartText};
        match ast {
            Ast::ClassPerl(class) => self.perl(class),
            Ast::ClassUnicode(_) => return Err(UNICODE.to_owned()),
            Ast::Flags(set) => return no_unicode(&set.flags),
            Ast::Group(group) => {
                if let GroupKind::NonCapturing(flags) = &group.kind {
                    return no_unicode(flags);
                }
            }
            Ast::Assertion(assertion) if !matches!(assertion.kind, StartLine | EndLine | StartText | EndText) => {
                self.0.push((assertion.span.start.offset..assertion.span.end.offset, Instead::BytesWise));
            }
            _ => {}
        }
        Ok(())
    }

    fn visit_class_set_item_pre(&mut self, item: &ClassSetItem) -> Result<(), Self::Err> {
        match item {
            ClassSetItem::Perl(class) => self.perl(class),
            ClassSetItem::Unicode(_) => return Err(UNICODE.to_owned()),
            _ => {}
        }
        Ok(())
    }
}

const UNICODE: &str = r"`\p{...}` is not supported";

/// The alphabet is not the expression's to choose.
fn no_unicode(flags: &Flags) -> Result<(), String> {
    match flags.items.iter().any(|item| item.kind == FlagsItemKind::Flag(Flag::Unicode)) {
        true => Err("the flag `u` is not supported".to_owned()),
        false => Ok(()),
    }
}
