//! The parameter `fold`: whether the spans of proxies of a mesh and of the applications beside them are counted and shown
//! once for each request.

use crate::params::Params;
use crate::problem::Problem;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fold {
    /// Every span stands for itself.
    Nothing,
    Mesh,
}

const FOLDS: [(&str, Fold); 2] = [("none", Fold::Nothing), ("mesh", Fold::Mesh)];

pub(super) fn fold(params: &Params) -> Result<Fold, Problem> {
    params.choice("fold", Fold::Nothing, &FOLDS)
}
