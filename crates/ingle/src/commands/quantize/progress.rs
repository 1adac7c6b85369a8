//! Progress, on stderr, where the work takes so long that a person would wonder.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Over the bytes of a model.
pub fn bytes(what: &str, total: u64) -> ProgressBar {
    /// Done in a second or so.
    const SOON: u64 = 16 << 20;
    let template = format!(
        "{what} {{wide_bar}} {{binary_bytes}}/{{binary_total_bytes}} {{binary_bytes_per_sec}}"
    );
    bar(total, SOON, &template)
}

/// Over the tokens of a text.
pub fn tokens(what: &str, total: usize) -> ProgressBar {
    let template = format!("{what} {{wide_bar}} {{pos}}/{{len}} tokens");
    bar(total as u64, 0, &template)
}

fn bar(total: u64, soon: u64, template: &str) -> ProgressBar {
    let target = match total < soon {
        true => ProgressDrawTarget::hidden(),
        false => ProgressDrawTarget::stderr(),
    };
    let bar = ProgressBar::with_draw_target(Some(total), target);
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
