//! Pages beside the code: for people who run fernchat, learn from it, or change it.
//!
//! | page | for |
//! | --- | --- |
//! | [`from_python`] | readers who know the Python scripts |
//! | [`lesson`], [`exercises`] | teachers and students |
//! | [`security`], [`what_protects_what`] | how to chat so that others cannot read it, and against whom that protects |
//! | [`platforms`] | where it runs, as a service, on small machines |
//! | [`faults`] | what happens when something breaks, and the tests that show it |
//! | [`figures`] | how fast, how small, and what bounds it |
//! | [`contributing`], [`decisions`], [`changes`] | contributors |
//!
//! No code lives here. A test in `tests/layers.rs` checks that the tests which a page names exist.

#[doc = include_str!("changes.md")]
pub mod changes {}
#[doc = include_str!("contributing.md")]
pub mod contributing {}
#[doc = include_str!("decisions.md")]
pub mod decisions {}
#[doc = include_str!("exercises.md")]
pub mod exercises {}
#[doc = include_str!("faults.md")]
pub mod faults {}
#[doc = include_str!("figures.md")]
pub mod figures {}
#[doc = include_str!("from_python.md")]
pub mod from_python {}
#[doc = include_str!("lesson.md")]
pub mod lesson {}
#[doc = include_str!("platforms.md")]
pub mod platforms {}
#[doc = include_str!("security.md")]
pub mod security {}
#[doc = include_str!("what_protects_what.md")]
pub mod what_protects_what {}
