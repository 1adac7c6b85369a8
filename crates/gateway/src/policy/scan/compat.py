"""Makes the table of compat.rs: run it in this folder, with no arguments."""
import unicodedata as u

groups = {}
for cp in range(0x80, 0x110000):
    c = chr(cp)
    if u.category(c) in ("Cs", "Cn", "Co", "Mn", "Mc", "Me") or 0xFF01 <= cp <= 0xFF5E or 0x1D400 <= cp <= 0x1D7FF:
        continue
    plain = "".join(x for x in u.normalize("NFKD", c) if not u.combining(x)).replace("\u2044", "/")
    if plain.strip() and plain.isascii() and plain.isprintable() and plain != c:
        groups.setdefault(plain, []).append(c)
with open("compat.rs", "w", encoding="utf-8") as out:
    out.write(f"""//! Characters that are ASCII with an accent, in another width or in a ring: NFKD (UAX #15, Unicode {u.unidata_version}) without
//! marks. Made by compat.py.

/// What they are, and which they are.
pub const COMPAT: &[(&str, &str)] = &[
""")
    for plain in sorted(groups):
        quoted = plain.replace("\\", "\\\\").replace('"', '\\"')
        out.write(f'    ("{quoted}", "{"".join(groups[plain])}"),\n')
    out.write("];\n")
