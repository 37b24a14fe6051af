//! The page that builds this World shows all of it, and nothing that is not in it.

#[test]
fn the_blocks_of_the_page_one_after_another_are_the_file() {
    let page = include_str!("../../../docs/write-a-world.md");
    let file = include_str!("../src/lib.rs");
    let mut shown = Vec::new();
    let mut is_inside = false;
    for line in page.lines() {
        match line {
            "```rust,lib.rs" => is_inside = true,
            "```" => is_inside = false,
            line if is_inside => shown.push(line),
            _ => {}
        }
    }
    let is_code = |line: &&str| !line.is_empty() && !line.starts_with("//!");
    let shown: Vec<_> = shown.into_iter().filter(is_code).collect();
    let written: Vec<_> = file.lines().filter(is_code).collect();
    for (shown, written) in shown.iter().zip(&written) {
        assert_eq!(shown, written);
    }
    assert_eq!(shown.len(), written.len());
}

#[test]
fn the_page_says_how_long_the_file_is() {
    let page = include_str!("../../../docs/write-a-world.md");
    let is_code = |line: &&str| !line.trim().is_empty() && !line.trim().starts_with("//");
    let lines = include_str!("../src/lib.rs").lines().filter(is_code).count();
    assert!(page.contains(&format!(" {lines} lines of")), "{lines} lines");
    assert!(lines <= 150, "README.md says: at most 150 lines");
}
