//! Waiting for time to pass is called sleep, wherever it is needed, and has a reason beside it. It is not written as a wait
//! for something that never comes:
//!
//! * `timeout(…, pending())`;
//! * `recv_timeout` whose result nobody looks at, or whose sender is kept by the same function under a name that begins
//!   with an underscore, so that nobody ever sends;
//! * `park_timeout`.

use std::collections::BTreeSet;

use proc_macro2::Span;
use syn::{
    Expr, ExprCall, ExprMethodCall, Local, Pat, Stmt,
    spanned::Spanned,
    visit::{self, Visit},
};

use super::{TidyFinding, TidyRule, source::SourceFile};

pub(crate) fn check(source: &SourceFile, findings: &mut Vec<TidyFinding>) {
    for function in source.functions(false) {
        let mut visitor = SleepVisitor { source, findings, deaf: BTreeSet::new(), ignored: BTreeSet::new() };
        visitor.visit_block(function.body);
    }
}

struct SleepVisitor<'a> {
    source: &'a SourceFile,
    findings: &'a mut Vec<TidyFinding>,
    /// Receivers that nobody sends to.
    deaf: BTreeSet<String>,
    /// Lines and columns of calls whose result nobody looks at.
    ignored: BTreeSet<(usize, usize)>,
}

impl SleepVisitor<'_> {
    fn report(&mut self, span: Span, what: &str) {
        let message = format!(
            "{what} is a sleep in disguise: wait for a condition; where only time can pass, call `sleep` and say why"
        );
        let finding = TidyFinding::new(TidyRule::DisguisedSleep, self.source, span.start().line, message);
        self.findings.push(finding);
    }

    fn ignore(&mut self, expression: &Expr) {
        match expression {
            Expr::MethodCall(call) if call.method == "recv_timeout" => {
                self.ignored.insert(find_place(call));
            }
            Expr::MethodCall(call) if call.method == "ok" || call.method == "is_err" => {
                self.ignore(&call.receiver);
            }
            Expr::Call(call) if is_call_of(&call.func, "drop") => {
                call.args.iter().for_each(|argument| self.ignore(argument));
            }
            _ => {}
        }
    }
}

impl<'a> Visit<'a> for SleepVisitor<'_> {
    fn visit_local(&mut self, local: &'a Local) {
        let value = local.init.as_ref().map(|init| &*init.expr);
        match (&local.pat, value) {
            (Pat::Wild(_), Some(value)) => self.ignore(value),
            (Pat::Tuple(pair), Some(_)) => {
                let mut names = pair.elems.iter();
                if let (Some(sender), Some(Pat::Ident(receiver)), None) =
                    (names.next(), names.next(), names.next())
                    && is_unused(sender)
                {
                    self.deaf.insert(receiver.ident.to_string());
                }
            }
            _ => {}
        }
        visit::visit_local(self, local);
    }

    fn visit_stmt(&mut self, statement: &'a Stmt) {
        if let Stmt::Expr(expression, Some(_)) = statement {
            self.ignore(expression);
        }
        visit::visit_stmt(self, statement);
    }

    fn visit_expr_call(&mut self, call: &'a ExprCall) {
        let is_pending =
            |argument: &Expr| matches!(argument, Expr::Call(inner) if is_call_of(&inner.func, "pending"));
        if is_call_of(&call.func, "timeout") && call.args.iter().any(is_pending) {
            self.report(call.span(), "`timeout(…, pending())`");
        }
        if is_call_of(&call.func, "park_timeout") {
            self.report(call.span(), "`park_timeout`");
        }
        visit::visit_expr_call(self, call);
    }

    fn visit_expr_method_call(&mut self, call: &'a ExprMethodCall) {
        if call.method == "recv_timeout" {
            let nobody_sends = matches!(&*call.receiver, Expr::Path(path)
                if path.path.get_ident().is_some_and(|name| self.deaf.contains(&name.to_string())));
            if nobody_sends {
                self.report(call.span(), "`recv_timeout` on a channel that nobody sends to");
            } else if self.ignored.contains(&find_place(call)) {
                self.report(call.span(), "`recv_timeout` whose result nobody looks at");
            }
        }
        visit::visit_expr_method_call(self, call);
    }
}

fn is_unused(pattern: &Pat) -> bool {
    match pattern {
        Pat::Wild(_) => true,
        Pat::Ident(name) => name.ident.to_string().starts_with('_'),
        _ => false,
    }
}

fn is_call_of(function: &Expr, name: &str) -> bool {
    matches!(function, Expr::Path(path)
        if path.path.segments.last().is_some_and(|last| last.ident == name))
}

fn find_place(call: &ExprMethodCall) -> (usize, usize) {
    let start = call.method.span().start();
    (start.line, start.column)
}

#[cfg(test)]
mod tests {
    use super::super::{TidyRule, findings_of};

    fn lines(body: &str) -> Vec<usize> {
        let text = format!("fn f() {{\n{body}\n}}");
        let found = findings_of(TidyRule::DisguisedSleep, "crates/a/tests/b.rs", &text);
        found.iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_wait_for_what_never_comes_is_found() {
        assert_eq!(lines("let _ = tokio::time::timeout(d, std::future::pending::<()>()).await;"), [2]);
        assert_eq!(lines("loop {\n let _ = closed.recv_timeout(d);\n}"), [3]);
        assert_eq!(lines("closed.recv_timeout(d).ok();"), [2]);
        assert_eq!(
            lines("let (_open, closed) = channel::<()>();\nwhile closed.recv_timeout(d).is_err() {}"),
            [3]
        );
        assert_eq!(lines("std::thread::park_timeout(d);"), [2]);
    }

    #[test]
    fn a_wait_for_what_may_come_passes() {
        assert!(lines("let line = lines.recv_timeout(d).unwrap();").is_empty());
        assert!(lines("while stopped.recv_timeout(d) == Err(RecvTimeoutError::Timeout) {}").is_empty());
        assert!(lines("let answer = timeout(d, ask()).await;").is_empty());
        assert!(
            lines("let (sender, heard) = channel();\nassert!(heard.recv_timeout(d).is_err());").is_empty()
        );
    }
}
