//! Rule: code that waits for time to pass calls `sleep` and gives a reason. These are sleeps in disguise:
//!
//! * `timeout(…, pending())`;
//! * `recv_timeout` whose result is ignored, or whose sender the same function holds unused, under a name that begins
//!   with an underscore;
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
        let mut visitor =
            SleepVisitor { source, findings, senderless: BTreeSet::new(), ignored: BTreeSet::new() };
        visitor.visit_block(function.body);
    }
}

struct SleepVisitor<'a> {
    source: &'a SourceFile,
    findings: &'a mut Vec<TidyFinding>,
    /// Receivers without a sender in use.
    senderless: BTreeSet<String>,
    /// Lines and columns of calls whose result is ignored.
    ignored: BTreeSet<(usize, usize)>,
}

impl SleepVisitor<'_> {
    fn report(&mut self, span: Span, what: &str) {
        let message = format!(
            "{what} is a sleep in disguise: wait for a condition, or call `sleep` and give the reason"
        );
        let finding = TidyFinding::new(TidyRule::DisguisedSleep, self.source, span.start().line, message);
        self.findings.push(finding);
    }

    fn ignore(&mut self, expression: &Expr) {
        match expression {
            Expr::MethodCall(call) if call.method == "recv_timeout" => {
                self.ignored.insert(find_position(call));
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
                    self.senderless.insert(receiver.ident.to_string());
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
            let is_senderless = matches!(&*call.receiver, Expr::Path(path)
                if path.path.get_ident().is_some_and(|name| self.senderless.contains(&name.to_string())));
            if is_senderless {
                self.report(call.span(), "`recv_timeout` on a channel without a sender in use");
            } else if self.ignored.contains(&find_position(call)) {
                self.report(call.span(), "`recv_timeout` whose result is ignored");
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

fn find_position(call: &ExprMethodCall) -> (usize, usize) {
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
    fn waits_that_can_only_time_out_are_found() {
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
    fn waits_for_an_event_pass() {
        assert!(lines("let line = lines.recv_timeout(d).unwrap();").is_empty());
        assert!(lines("while stopped.recv_timeout(d) == Err(RecvTimeoutError::Timeout) {}").is_empty());
        assert!(lines("let answer = timeout(d, ask()).await;").is_empty());
        assert!(
            lines("let (sender, received) = channel();\nassert!(received.recv_timeout(d).is_err());")
                .is_empty()
        );
    }
}
