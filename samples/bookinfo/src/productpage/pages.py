"""The pages, as text. All that they need is in them: no file, font or script from elsewhere."""

from __future__ import annotations

from html import escape

# The star's class names stay out of this sheet: scripts look for them in the page to see whether stars are shown.
STYLE = """
:root{color-scheme:light dark;--paper:#faf6ee;--card:#fffdf8;--ink:#2a211a;--soft:#75675a;--line:#e4dac9;
--cloth:#7a1f2b;--gold:#c89b3c;--link:#7a1f2b;--bad:#a3231f;--badbg:#fbeae6;--black:#2a211a;--red:#d0342c}
@media(prefers-color-scheme:dark){:root{--paper:#191512;--card:#221d19;--ink:#efe6d8;--soft:#a99b8a;--line:#3a322b;
--cloth:#8c2a36;--gold:#d8ad52;--link:#e7a6a0;--bad:#ff9a8d;--badbg:#3a201d;--black:#efe6d8;--red:#ff6257}}
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);
font:16px/1.6 Charter,"Bitstream Charter","Iowan Old Style","Source Serif 4",Georgia,serif}
a{color:var(--link)}header{border-bottom:1px solid var(--line)}
header>div,main,footer{max-width:1040px;margin:0 auto;padding:0 28px}
header>div{display:flex;align-items:center;gap:16px;min-height:64px;flex-wrap:wrap}
.brand{font-weight:700;font-size:18px;letter-spacing:-.01em;color:inherit;text-decoration:none;margin-right:auto}
.brand i{color:var(--gold);font-style:normal;margin-right:8px}
form{display:flex;gap:8px;align-items:center;margin:0}
input,button{font:14px/1.4 system-ui,sans-serif;padding:6px 10px;border-radius:6px;border:1px solid var(--line);
background:var(--card);color:inherit;width:112px}button{width:auto;background:var(--cloth);border-color:var(--cloth);
color:#fff;cursor:pointer}:focus-visible{outline:2px solid var(--gold);outline-offset:2px}
.who{font:14px/1.4 system-ui,sans-serif;color:var(--soft)}.who b{color:var(--ink)}
.book{display:grid;grid-template-columns:220px 1fr;gap:44px;padding:44px 0 34px;align-items:start}
.cover{width:220px;border-radius:3px 8px 8px 3px;box-shadow:0 1px 2px #0003,0 14px 34px #0000002e;display:block}
h1{font-size:42px;line-height:1.1;letter-spacing:-.02em;margin:4px 0 6px;text-wrap:balance}
.by{color:var(--soft);margin:0 0 18px;font-style:italic}.about{max-width:58ch;margin:0}
h2{font-size:21px;margin:0 0 14px;letter-spacing:-.01em}section{border-top:1px solid var(--line);padding:28px 0}
.book section{margin-top:26px;padding:22px 0 0}.book h2{font-size:17px;margin:0 0 12px}
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(150px,1fr));gap:12px 28px;margin:0}
dt{font:12px/1.4 system-ui,sans-serif;color:var(--soft)}dd{margin:0;font-variant-numeric:tabular-nums}
.said{display:grid;grid-template-columns:repeat(auto-fit,minmax(300px,1fr));gap:18px}
blockquote{margin:0;background:var(--card);border:1px solid var(--line);border-radius:10px;padding:20px 22px;
display:flex;flex-direction:column;gap:10px}blockquote p{margin:0;flex:1}
blockquote small,.served,footer{font:13px/1.5 system-ui,sans-serif;color:var(--soft)}
.stars{display:flex;gap:4px}.stars span{width:20px;height:20px;background:currentColor;
clip-path:polygon(50% 4%,61% 37%,96% 37%,68% 58%,79% 92%,50% 71%,21% 92%,32% 58%,4% 37%,39% 37%)}
.stars span[class$=empty]{opacity:.2}.stars[color=black]{color:var(--black)}.stars[color=red]{color:var(--red)}
.gap{background:var(--badbg);border-left:4px solid var(--bad);border-radius:6px;padding:14px 18px}
.gap h2{color:var(--bad);margin:0 0 2px;font-size:17px}.gap p{margin:0}
.warn{color:var(--bad);font:14px/1.5 system-ui,sans-serif}.served{margin:16px 0 0}
code{font:13px/1.5 ui-monospace,"JetBrains Mono",Menlo,monospace}
.ways{display:flex;gap:14px;flex-wrap:wrap;margin:22px 0}
.ways a{background:var(--cloth);color:#fff;text-decoration:none;border-radius:8px;padding:10px 18px}
.ways a+a{background:none;color:var(--link);border:1px solid var(--line)}
pre{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:18px 22px;overflow:auto;
font:13px/1.7 ui-monospace,"JetBrains Mono",Menlo,monospace}footer{padding:24px 28px 48px}
@media(max-width:720px){.book{grid-template-columns:1fr;gap:24px;padding-top:28px}.cover{width:150px}h1{font-size:32px}}
"""

# Two faces that are one: the twins.
COVER = """<svg class="cover" viewBox="0 0 220 320" role="img" aria-label="The book's cover">
<rect width="220" height="320" fill="#7a1f2b"/><rect width="14" height="320" fill="#00000038"/>
<rect x="26" y="12" width="182" height="296" fill="none" stroke="#c89b3c" stroke-width="1.5"/>
<rect x="31" y="17" width="172" height="286" fill="none" stroke="#c89b3c" stroke-opacity=".5"/>
<g fill="#f3e3bf" font-family="Georgia,serif" text-anchor="middle"><text x="117" y="58" font-size="13"
font-style="italic">The</text><text x="117" y="86" font-size="27" letter-spacing="1">Comedy</text><text x="117" y="106"
font-size="13" font-style="italic">of</text><text x="117" y="132" font-size="27" letter-spacing="1">Errors</text>
<text x="117" y="286" font-size="12" letter-spacing="1.5">Shakespeare</text></g>
<g fill="none" stroke="#c89b3c" stroke-width="2.2" stroke-linecap="round"><path d="M112 160c-30 0-46 18-46 44 0 32 20 54
46 54"/><path d="M122 160c30 0 46 18 46 44 0 32-20 54-46 54"/><path d="M112 160v36l-11 13 11 5v44M122 160v36l11 13-11
5v44"/><path d="M78 196q9-8 18 0M138 196q9-8 18 0"/><path d="M90 236q8 9 20 4M144 228q-8-9-20-2"/></g>
<g fill="#c89b3c"><circle cx="88" cy="199" r="2.6"/><circle cx="147" cy="199" r="2.6"/></g></svg>"""

DETAILS = (
    ("type", "Type"),
    ("pages", "Pages"),
    ("publisher", "Publisher"),
    ("language", "Language"),
    ("year", "First staged"),
    ("ISBN-10", "ISBN-10"),
    ("ISBN-13", "ISBN-13"),
)


def product(
    book: dict[str, object],
    details: tuple[int, dict[str, object]],
    reviews: tuple[int, dict[str, object]],
    user: str,
) -> str:
    """The page of one book. `details` and `reviews` are a status and what came with it."""
    by = details[1].get("author", "") if details[0] == 200 else ""
    byline = f'<p class="by">by {escape(str(by))}</p>' if by else ""
    return _page(
        f"""<div class="book">{COVER}<div><h1>{escape(str(book["title"]))}</h1>{byline}
<p class="about">{book["descriptionHtml"]}</p>
<section aria-label="Book details">{_details(*details)}</section></div></div>
<section aria-label="Book reviews">{_reviews(*reviews)}</section>""",
        _signed_in(user) if user else _SIGN_IN,
    )


def index() -> str:
    """The front page: what this is, and the ways in."""
    return _page(
        """<div style="padding:44px 0"><h1>One page, four services</h1>
<p class="about">This shop sells a single book. What it shows comes from services that only know each other's names;
the mesh between them decides which version answers, how long it may take and what happens when it fails.</p>
<div class="ways"><a href="/productpage?u=normal">Normal user</a><a href="/productpage?u=test">Test user</a></div>
<pre>productpage
├─ details            what is printed in the book
└─ reviews            v1 no stars · v2 black stars · v3 red stars
   └─ ratings         how many stars</pre></div>"""
    )


def not_found() -> str:
    return _page(
        '<div style="padding:44px 0"><h1>No such page</h1><p><a href="/productpage">To the book</a></p></div>'
    )


_SIGN_IN = """<form method="post" action="/login" aria-label="Sign in"><input name="username" placeholder="User name"
aria-label="User name" autocomplete="username" required><input name="passwd" type="password" placeholder="Password"
aria-label="Password" autocomplete="current-password"><button type="submit">Sign in</button></form>"""


def _signed_in(user: str) -> str:
    return f'<span class="who"><b>{escape(user)}</b> (<a href="/logout">sign out</a>)</span>'


def _details(status: int, details: dict[str, object]) -> str:
    if status != 200:
        return _gap("Error fetching product details!", details)
    rows = "".join(
        f"<div><dt>{label}</dt><dd>{escape(str(details[key]))}</dd></div>" for key, label in DETAILS if key in details
    )
    return f"<h2>Book Details</h2><dl>{rows}</dl>"


def _reviews(status: int, answer: dict[str, object]) -> str:
    if status != 200:
        return _gap("Error fetching product reviews!", answer)
    reviews = answer.get("reviews")
    said = "".join(_review(review) for review in reviews) if isinstance(reviews, list) else ""
    pod = escape(str(answer.get("podname", "")))
    served = f'<p class="served">Reviews served by: <code>{pod}</code></p>' if pod else ""
    return f'<h2>Book Reviews</h2><div class="said">{said}</div>{served}'


def _review(review: dict[str, object]) -> str:
    rating = review.get("rating")
    below = ""
    if isinstance(rating, dict) and "stars" in rating:
        below = _stars(int(rating["stars"]), str(rating.get("color", "black")))
    elif isinstance(rating, dict):
        below = f'<span class="warn">{escape(str(rating.get("error", "")))}</span>'
    text, reviewer = escape(str(review.get("text", ""))), escape(str(review.get("reviewer", "")))
    return f"<blockquote>{below}<p>{text}</p><small>{reviewer}</small></blockquote>"


def _stars(count: int, color: str) -> str:
    """Five stars, `count` of them filled, with the class names that Istio's examples look for."""
    count = max(0, min(5, count))
    full = '<span class="glyphicon glyphicon-star"></span>' * count
    empty = '<span class="glyphicon glyphicon-star-empty"></span>' * (5 - count)
    label = f"{count} of 5 stars"
    return f'<font class="stars" color="{escape(color)}" role="img" aria-label="{label}">{full}{empty}</font>'


def _gap(title: str, answer: dict[str, object]) -> str:
    reason = escape(str(answer.get("error", "")))
    return f'<div class="gap" role="alert"><h2>{title}</h2><p>{reason}</p></div>'


def _page(body: str, corner: str = "") -> str:
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Simple Bookstore App</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">
<style>{STYLE}</style></head>
<body><header><div><a class="brand" href="/productpage"><i aria-hidden="true">❦</i>Bookinfo</a>{corner}</div></header>
<main>{body}</main></body></html>
"""
