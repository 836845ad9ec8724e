//! Rule: function parameters are not tuples. The values of a pair are easily swapped, and tuples hide the number of
//! parameters.

use syn::{
    FnArg, Pat, Signature, Type,
    spanned::Spanned,
    visit::{self, Visit},
};

use super::{TidyFinding, TidyRule, source::SourceFile};

pub(crate) fn check(source: &SourceFile, findings: &mut Vec<TidyFinding>) {
    TupleVisitor { source, findings }.visit_file(&source.syntax);
}

struct TupleVisitor<'a> {
    source: &'a SourceFile,
    findings: &'a mut Vec<TidyFinding>,
}

impl<'a> Visit<'a> for TupleVisitor<'_> {
    // Closures have no signature and are not checked: the caller decides their parameters.
    fn visit_signature(&mut self, signature: &'a Signature) {
        for parameter in &signature.inputs {
            let FnArg::Typed(parameter) = parameter else { continue };
            if is_tuple_pattern(&parameter.pat) || is_tuple(&parameter.ty) {
                let message = format!(
                    "a parameter of `{}` is a tuple: pass separate parameters, or a named struct",
                    signature.ident
                );
                let line = parameter.pat.span().start().line;
                self.findings.push(TidyFinding::new(TidyRule::TupleParameter, self.source, line, message));
            }
        }
        visit::visit_signature(self, signature);
    }
}

fn is_tuple_pattern(pattern: &Pat) -> bool {
    match pattern {
        Pat::Tuple(_) => true,
        Pat::Reference(reference) => is_tuple_pattern(&reference.pat),
        Pat::Paren(inner) => is_tuple_pattern(&inner.pat),
        _ => false,
    }
}

fn is_tuple(kind: &Type) -> bool {
    match kind {
        Type::Tuple(tuple) => !tuple.elems.is_empty(),
        Type::Reference(reference) => is_tuple(&reference.elem),
        Type::Paren(inner) => is_tuple(&inner.elem),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{TidyRule, findings_of};

    fn lines(text: &str) -> Vec<usize> {
        let found = findings_of(TidyRule::TupleParameter, "crates/a/src/b.rs", text);
        found.iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn tuple_patterns_and_tuple_types_are_found() {
        assert_eq!(lines("fn f((a, b): Pair) {}"), [1]);
        assert_eq!(lines("fn f(\n    x: u8,\n    pair: (u8, u8),\n) {}"), [3]);
        assert_eq!(lines("fn f(pair: &mut (u8, u8)) {}"), [1]);
        assert_eq!(lines("impl A {\n    fn f(&self, &(a, b): &(u8, u8)) {}\n}"), [2]);
        assert_eq!(lines("trait A {\n    fn f(&self, pair: (u8, u8));\n}"), [2]);
        assert_eq!(lines("fn f() {\n    fn g(pair: (u8, u8)) {}\n}"), [2]);
        assert_eq!(lines("#[cfg(test)]\nmod tests {\n    fn f(pair: (u8, u8)) {}\n}"), [3]);
    }

    #[test]
    fn structs_slices_and_closures_pass() {
        assert!(lines("fn f(a: u8, Point { x, y }: Point, pairs: &[(u8, u8)], unit: ()) {}").is_empty());
        assert!(lines("fn f() { pairs.map(|(a, b): (u8, u8)| a + b); }").is_empty());
    }
}
