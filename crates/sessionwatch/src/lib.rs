//! sessionwatch: looks at a web application's session table and says what is wrong.
//!
//! Reading order: [`cli`] parses and dispatches; [`config`] says what to watch; [`profile`] knows how frameworks store
//! sessions; [`target`] looks at a database; [`checks`] lists the rules, which are decided in `sessionwatch-rules`.

pub mod profile;
