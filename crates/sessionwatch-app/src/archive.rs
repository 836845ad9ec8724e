//! The archive: sealed copies of the rows that actions removed or changed, so that they can be undone for a while. Only
//! this module ever holds a whole row, and no way leads out of it but into a seal, or back into the table.

pub mod sealing;
