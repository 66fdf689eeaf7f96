/** The style of every page: system fonts, light and dark, from a phone's width on. */
export const STYLE = `
:root {
  color-scheme: light dark;
  --paper: #ffffff; --ground: #f3f5f8; --ink: #1b1f24; --soft: #55606c; --line: #c9d0d8;
  --act: #0b57d0; --on-act: #ffffff; --good: #1e6b34; --bad: #b3261e;
  font: 16px/1.5 system-ui, sans-serif;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #1c2026; --ground: #121519; --ink: #e7eaee; --soft: #a7b0ba; --line: #454d57;
    --act: #a8c7fa; --on-act: #062e6f; --good: #8fd6a3; --bad: #f2b8b5;
  }
}
* { box-sizing: border-box; }
body { margin: 0; padding-bottom: 3rem; background: var(--ground); color: var(--ink); }
header, main { max-width: 34rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 6vh; padding-bottom: .75rem; color: var(--soft); font-weight: 600; }
main { background: var(--paper); border: 1px solid var(--line); border-radius: .75rem; padding: 1.5rem 1.75rem 1.75rem; }
@media (max-width: 36rem) {
  header { padding-top: 1.25rem; }
  main { border-width: 1px 0; border-radius: 0; padding: 1.25rem; }
}
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .75rem; }
h2 { font-size: 1.1rem; margin: 1.75rem 0 .25rem; }
p { margin: .5rem 0; }
a { color: var(--act); }
label { display: block; margin: 1rem 0 .25rem; font-weight: 600; }
input { width: 100%; padding: .6rem .75rem; font: inherit; color: inherit; background: var(--paper); border: 1px solid var(--soft); border-radius: .4rem; }
input[name=user_code] { text-transform: uppercase; letter-spacing: .1em; }
::placeholder { color: var(--soft); opacity: 1; }
button { padding: .6rem 1.25rem; font: inherit; font-weight: 600; color: var(--on-act); background: var(--act); border: 1px solid var(--act); border-radius: .4rem; cursor: pointer; }
button.quiet { color: var(--act); background: none; border-color: var(--soft); }
.buttons { display: flex; flex-wrap: wrap; gap: .75rem; margin-top: 1.25rem; }
.wide button { width: 100%; }
code { font-family: ui-monospace, monospace; font-size: .92em; }
code, li, dd { overflow-wrap: anywhere; }
ul.cards { list-style: none; padding: 0; margin: .5rem 0; }
ul.cards > li { border: 1px solid var(--line); border-radius: .5rem; padding: .75rem 1rem; margin: .75rem 0; }
ul.cards.go > li { padding: 0; }
ul.cards.go a { display: block; padding: .75rem 1rem; font-weight: 600; }
.card { display: flex; flex-wrap: wrap; justify-content: space-between; align-items: start; gap: .5rem 1rem; }
.card > div { flex: 1 1 14rem; }
.soft { color: var(--soft); font-size: .9rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .35rem 1rem; margin: 1rem 0; }
dt { color: var(--soft); }
dd { margin: 0; }
.code { font: 700 1.75rem/1.2 ui-monospace, monospace; letter-spacing: .08em; margin: .75rem 0; }
.notice, .wrong, .warning { border-left: .25rem solid; padding: .25rem .75rem; }
.notice { border-color: var(--good); }
.wrong { color: var(--bad); border-color: var(--bad); }
.warning { border-color: var(--bad); }
.apart { margin-top: 1.75rem; padding-top: 1rem; border-top: 1px solid var(--line); }
:focus-visible { outline: 3px solid var(--act); outline-offset: 2px; }
`;
