import { ExitError } from '@weft/kernel/errors';
import type { Command } from 'commander';

/** What can be completed: commands with their options, and what their arguments may be. */
interface Completable {
  readonly path: string;
  readonly description: string;
  readonly words: readonly string[];
}

const SHELLS = ['bash', 'zsh', 'fish'] as const;

/** Prints a script that completes commands, options and fixed arguments; `weft completion bash > …/weft`. */
export function completion(shell: string, program: Command): void {
  const commands = completables(program);
  if (shell === 'bash') process.stdout.write(bash(commands));
  else if (shell === 'zsh')
    process.stdout.write(`#compdef weft\nautoload -Uz bashcompinit && bashcompinit\n${bash(commands)}`);
  else if (shell === 'fish') process.stdout.write(fish(commands));
  else throw new ExitError(64, `No completion for ${shell}. Shells: ${SHELLS.join(', ')}.`);
}

function completables(program: Command, prefix = ''): Completable[] {
  const below = program.commands.flatMap((command) => completables(command, `${prefix}${command.name()} `));
  const words = [
    ...program.commands.map((command) => command.name()),
    ...program.registeredArguments.flatMap((argument) => argument.argChoices ?? []),
    ...program.options.flatMap((option) => (option.long ? [option.long] : [])),
  ];
  return [{ path: prefix.trim(), description: program.description(), words }, ...below];
}

function bash(commands: readonly Completable[]): string {
  const cases = commands.map(({ path, words }) => `    '${path}') words='${words.join(' ')}' ;;`);
  const names = commands.map(({ path }) => path).filter((path) => path !== '');
  return `_weft() {
  local current=\${COMP_WORDS[COMP_CWORD]} path='' word words
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "\${path:+$path }$word" in
      ${names.map((name) => `'${name}'`).join('|')}) path="\${path:+$path }$word" ;;
    esac
  done
  case "$path" in
${cases.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  [[ \${#COMPREPLY[@]} -eq 0 ]] && COMPREPLY=($(compgen -f -- "$current"))
}
complete -o filenames -F _weft weft
`;
}

function fish(commands: readonly Completable[]): string {
  const lines = commands.flatMap(({ path, words }) => {
    const condition =
      path === ''
        ? '__fish_use_subcommand'
        : path
            .split(' ')
            .map((name) => `__fish_seen_subcommand_from ${name}`)
            .join('; and ');
    return words.map((word) =>
      word.startsWith('--')
        ? `complete -c weft -n '${condition}' -l ${word.slice(2)}`
        : `complete -c weft -n '${condition}' -a ${word} -d '${descriptionOf(commands, path, word)}'`,
    );
  });
  return `${lines.join('\n')}\n`;
}

function descriptionOf(commands: readonly Completable[], path: string, word: string): string {
  const full = path === '' ? word : `${path} ${word}`;
  const found = commands.find((command) => command.path === full)?.description ?? '';
  return found.replaceAll("'", '’');
}
