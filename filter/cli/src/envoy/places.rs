//! Every object of a file with its path and what it stands in.

use portcullis_engine::config::document::member_path;

use crate::document::{Kind, Node};

/// An object and where it stands.
#[derive(Debug, Clone)]
pub struct Place<'a> {
    /// Its path in the file.
    pub path: String,
    /// The object.
    pub node: &'a Node,
    /// The objects that it stands in, the outermost first, with their paths.
    pub ancestors: Vec<(String, &'a Node)>,
}

/// Every object of the file, the outer ones first.
pub fn places(root: &Node) -> Vec<Place<'_>> {
    let mut found = Vec::new();
    visit(root, String::new(), &mut Vec::new(), &mut found);
    found
}

fn visit<'a>(node: &'a Node, path: String, ancestors: &mut Vec<(String, &'a Node)>, found: &mut Vec<Place<'a>>) {
    match &node.kind {
        Kind::Scalar(_) => {}
        Kind::List(elements) => {
            for (index, element) in elements.iter().enumerate() {
                visit(element, format!("{path}[{index}]"), ancestors, found);
            }
        }
        Kind::Map(members) => {
            found.push(Place { path: path.clone(), node, ancestors: ancestors.clone() });
            ancestors.push((path.clone(), node));
            for member in members {
                visit(&member.value, member_path(&path, &member.key), ancestors, found);
            }
            ancestors.pop();
        }
    }
}
