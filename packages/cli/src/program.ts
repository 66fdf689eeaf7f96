import { Argument, Command, InvalidArgumentError, Option } from 'commander';
import packageJson from '../package.json' with { type: 'json' };
import { COMPONENT_NAMES } from './components.ts';
import { defaultDataFolder } from './data-folder.ts';

/** The `weft` command. Each verb's code is loaded when it is asked for, so that `weft token` starts quickly. */
export function createProgram(): Command {
  const program = new Command('weft')
    .description('The infrastructure of a digital twin engine in one program')
    .version(packageJson.version, '--version', 'print the version')
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'weft: ')) })
    .showHelpAfterError('(see weft --help)');

  const data = () =>
    new Option('--data <folder>', 'folder of the instance').default(defaultDataFolder(process.env));
  const portBase = () =>
    new Option('--port-base <n>', 'put every listener at n plus its offset').argParser((text) =>
      parsePort(text),
    );
  const json = () => new Option('--json', 'print JSON');
  const logLevel = () =>
    new Option('--log-level <level>', 'how much the processes log')
      .choices(['trace', 'debug', 'info', 'warn', 'error'])
      .default('info');

  program
    .command('up')
    .description('start components (all by default) on the embedded default and keep them running')
    .argument('[components...]', `any of ${COMPONENT_NAMES.join(', ')}`)
    .addOption(data())
    .addOption(portBase())
    .addOption(logLevel())
    .option('--without <component>', 'all but this one')
    .option('--detach', 'return when everything is ready')
    .action(async (components, options) => (await import('./commands/up.ts')).up(components, options));

  program
    .command('down')
    .description('stop the instance')
    .addOption(data())
    .action(async (options) => (await import('./commands/down.ts')).down(options));

  program
    .command('status')
    .description('what runs, and whether it answers')
    .addOption(data())
    .addOption(json())
    .action(async (options) => (await import('./commands/status.ts')).status(options));

  program
    .command('logs')
    .description('print the logs of the processes; --follow goes on')
    .argument('[process]', 'services, storage-<site>, mover, postgres or supervisor')
    .addOption(data())
    .option('-f, --follow', 'go on as lines are written')
    .option('-n, --lines <n>', 'how many lines from the end', '200')
    .action(async (name, options) => (await import('./commands/logs.ts')).logs(name, options));

  program
    .command('endpoints')
    .description('the addresses of the instance')
    .addOption(data())
    .addOption(portBase())
    .addOption(json())
    .action(async (options) => (await import('./commands/endpoints.ts')).endpoints(options));

  program
    .command('token')
    .description('an access token from the embedded issuer, alone on standard output')
    .addOption(data())
    .addOption(portBase())
    .option('--user <name>', 'user of the embedded issuer', 'alice')
    .option('--scope <scopes>', 'space-separated; default: all that the user may have')
    .option('--audience <audiences>', 'space-separated; default: the components of this instance')
    .option('--site-account', 'of the issuer of site accounts, for account linking: --user alice01')
    .action(async (options) => (await import('./commands/token.ts')).token(options));

  const site = () => new Option('--site <name>', 'site of the storage').makeOptionMandatory();
  const owner = () => new Option('--user <name>', 'user of the embedded issuer').default('alice');
  const storage = program.command('storage').description('the storage of a site');
  storage
    .command('import')
    .description('the configuration of another storage service as sections of weft.yaml')
    .addArgument(new Argument('<program>', 'what the files belong to').choices(['teapot', 'storm']))
    .argument('<files...>', 'config.ini and its mapping files, or sa.d/*.properties')
    .option('--site <name>', 'what the site is to be called here')
    .option('--url <url>', 'the address that others use')
    .action(async (kind, files, options) =>
      (await import('./commands/storage-import.ts')).storageImport(kind, files, options),
    );
  const scope = () => new Option('--scope <scopes>', 'space-separated; default: all of the user there');
  const service = async () => import('./commands/storage-service.ts');
  storage
    .command('whoami')
    .description('who a user is to a storage, and what they may do at a path, and why')
    .argument('[path]', 'as in the URL: /rucio/drought')
    .addOption(data())
    .addOption(portBase())
    .addOption(site())
    .addOption(owner())
    .addOption(scope())
    .addOption(json())
    .action(async (path, options) => (await service()).whoami(path, options));
  storage
    .command('transfers')
    .description("third-party copies that run: the user's, for administrators everybody's")
    .addOption(data())
    .addOption(portBase())
    .addOption(site())
    .addOption(owner())
    .option('--cancel <id>', 'end one')
    .addOption(json())
    .action(async (options) => (await service()).transfers(options));
  storage
    .command('workers')
    .description('processes of local users, for administrators')
    .addOption(data())
    .addOption(portBase())
    .addOption(site())
    .addOption(owner().default('admin'))
    .option('--stop <account>', 'end those of a local account when nothing uses them any more')
    .option('--now', 'end them at once')
    .addOption(json())
    .action(async (options) => (await service()).workers(options));
  const appPassword = storage
    .command('app-password')
    .description('passwords for devices that know only Basic (mounted drives)');
  appPassword
    .command('make')
    .description('a new password, alone on standard output')
    .argument('<label>', 'what it is for: laptop')
    .addOption(data())
    .addOption(portBase())
    .addOption(site())
    .addOption(owner())
    .option('--scope <scopes>', 'space-separated; default: all that the user may do there')
    .option('--days <n>', 'how long it lives', '90')
    .action(async (label, options) =>
      (await import('./commands/storage.ts')).makeAppPassword(label, options),
    );
  appPassword
    .command('list')
    .description('passwords that are valid')
    .addOption(data())
    .addOption(portBase())
    .addOption(site())
    .addOption(owner())
    .addOption(json())
    .action(async (options) => (await import('./commands/storage.ts')).listAppPasswords(options));
  appPassword
    .command('revoke')
    .description('end a password at once')
    .argument('<id>', 'as list prints it')
    .addOption(data())
    .addOption(portBase())
    .addOption(site())
    .addOption(owner())
    .action(async (id, options) => (await import('./commands/storage.ts')).revokeAppPassword(id, options));

  const administrator = () =>
    new Option('--user <name>', 'administrator of the embedded issuer').default('admin');
  const identity = program.command('identity').description('the embedded issuer, for its administrator');
  identity
    .command('suspend')
    .description('cut a user off everywhere within a second')
    .argument('<user>', 'name or subject')
    .addOption(data())
    .addOption(portBase())
    .addOption(administrator())
    .action(async (user, options) => (await import('./commands/identity.ts')).suspend(user, options));
  identity
    .command('resume')
    .description('let a suspended user in again')
    .argument('<user>', 'name or subject')
    .addOption(data())
    .addOption(portBase())
    .addOption(administrator())
    .action(async (user, options) => (await import('./commands/identity.ts')).resume(user, options));
  identity
    .command('rotate-key')
    .description('sign with a new key from now on; tokens of before stay good')
    .addOption(data())
    .addOption(portBase())
    .addOption(administrator())
    .addOption(json())
    .option('--leaked', 'remove the older keys at once, with every token that they signed')
    .action(async (options) => (await import('./commands/identity.ts')).rotateKey(options));

  program
    .command('certificate')
    .description("a client certificate of the instance's authority (usercert.pem, userkey.pem)")
    .argument('<name>', 'common name: who it is for')
    .addOption(data())
    .option('--out <folder>', 'where to write', '.')
    .action(async (name, options) => (await import('./commands/certificate.ts')).certificate(name, options));

  program
    .command('client-config')
    .description('write what a real client needs to talk to this instance')
    .argument('<client>', 'rucio, fts, rclone or davix')
    .addOption(data())
    .addOption(portBase())
    .option('--user <name>', 'user of the embedded issuer', 'alice')
    .option('--out <folder>', 'where to write', '.')
    .action(async (client, options) =>
      (await import('./commands/client-config.ts')).clientConfig(client, options),
    );

  const config = () =>
    new Option(
      '--config <file>',
      'weft.yaml of a production instance, instead of the embedded server of --data',
    );

  program
    .command('backup')
    .description('write everything in the database into one file; may run under load')
    .argument('<file>', 'made by this command; the keys go to <file>.keys')
    .addOption(data())
    .addOption(config())
    .addOption(json())
    .action(async (file, options) => (await import('./commands/backup.ts')).backup(file, options));

  program
    .command('restore')
    .description('restore a backup into an empty instance or database')
    .argument('<file>', 'what weft backup wrote')
    .addOption(data())
    .addOption(config())
    .addOption(json())
    .action(async (file, options) => (await import('./commands/backup.ts')).restore(file, options));

  program
    .command('dead-letters')
    .description('jobs that failed too often: list them, try them again, or drop them')
    .option('--queue <name>', 'only those of this queue')
    .option('--retry <id...>', 'put these back into their queues')
    .option('--discard <id...>', 'drop these for good')
    .addOption(data())
    .addOption(config())
    .addOption(json())
    .action(async (options) => (await import('./commands/dead-letters.ts')).deadLetters(options));

  program
    .command('doctor')
    .description('look at this machine, and say how to mend what is missing')
    .addArgument(new Argument('[component]', 'the self-test of a component').choices(['storage']))
    .addOption(data())
    .addOption(portBase())
    .option('--config <file>', 'storage: a weft.yaml; default: that of the instance')
    .option('--site <name>', 'storage: only this instance')
    .option('--account <name>', 'storage: try a worker as this local user')
    .addOption(json())
    .action(async (component, options) => {
      if (component === 'storage')
        await (await import('./commands/doctor-storage.ts')).doctorStorage(options);
      else await (await import('./commands/doctor.ts')).doctor(options);
    });

  const configuration = program
    .command('config')
    .description('the configuration: its schema, and as it is understood');
  configuration
    .command('schema')
    .description('JSON Schema of weft.yaml, for editors')
    .action(async () => (await import('./commands/config.ts')).configSchema());
  configuration
    .command('show')
    .description('the configuration with defaults and overrides filled in and secrets left out')
    .addOption(data())
    .option('--config <file>', 'a weft.yaml; default: that of the instance')
    .addOption(json())
    .action(async (options) => (await import('./commands/config.ts')).configShow(options));

  program
    .command('completion')
    .description('a script that completes this command in your shell')
    .addArgument(new Argument('<shell>').choices(['bash', 'zsh', 'fish']))
    .action(async (shell) => (await import('./commands/completion.ts')).completion(shell, program));

  program
    .command('demo')
    .description('start everything and run the example twin end to end')
    .addOption(data())
    .addOption(portBase())
    .addOption(logLevel())
    .option('--once', 'stop and exit when the twin has run')
    .option('--without <component>', 'leave a component out (the path then fails at its step)')
    .option('--drain <site>', 'drain this site before placement')
    .option('--fresh', 'begin with an empty data folder')
    .action(async (options) => (await import('./commands/demo.ts')).demo(options));

  program
    .command('serve')
    .description('run one or more components in the foreground, as a configuration file says')
    .argument('<components...>', `any of ${COMPONENT_NAMES.join(', ')}`)
    .requiredOption('--config <file>', 'weft.yaml')
    .addOption(
      new Option('--role <role>', 'services (APIs and daemons) or mover')
        .choices(['services', 'mover'])
        .default('services'),
    )
    .option('--site <name>', 'the storage instance to serve')
    .action(async (components, options) => (await import('./commands/serve.ts')).serve(components, options));

  return program;
}

function parsePort(text: string): number {
  const port = Number(text);
  if (!Number.isInteger(port) || port < 1024 || port > 65_000) {
    throw new InvalidArgumentError(`It must be a port between 1024 and 65000.`);
  }
  return port;
}
