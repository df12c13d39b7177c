/**
 * Builds the E2B template `claude-agent-server`: a machine with Paddock and the Claude Code CLI, which serves when it starts.
 *
 * Takes from the environment: `E2B_API_KEY`; `PADDOCK_KEY`, the key that clients of the sandboxes will need; and
 * `TEMPLATE_NAME`, if it is to have another name. `paddock`, a Linux x86_64 binary, lies next to this file.
 */

import { Template, defaultBuildLogger, waitForURL } from 'e2b';

/** The port that `ClaudeAgentClient` connects to. */
const PORT = 3000;
/** The version of the CLI that Paddock is tested with; `tools/claude-cli/package.json` names it. */
const CLI_VERSION = '2.1.329';

const key = process.env.PADDOCK_KEY;
if (key === undefined || key.length < 32) {
  throw new Error('set PADDOCK_KEY to 32 characters or more (openssl rand -hex 32): a server that others reach needs a key');
}

/** The template. */
export const template = Template({ fileContextPath: import.meta.dirname })
  .fromNodeImage('22')
  .setUser('root')
  // What agents work with, and what fences them in.
  .aptInstall(['bubblewrap', 'ca-certificates', 'curl', 'git', 'ripgrep'])
  .npmInstall([`@anthropic-ai/claude-code@${CLI_VERSION}`], { g: true })
  .copy('paddock', '/usr/local/bin/paddock', { mode: 0o755 })
  .makeDir('/var/lib/paddock')
  .setWorkdir('/var/lib/paddock')
  .setEnvs({
    // The sandbox's own network is the border; E2B passes to it what comes to its address.
    PADDOCK__API__HOST: '0.0.0.0',
    PADDOCK__API__PORT: String(PORT),
    PADDOCK__AUTH__ADMIN_KEY: key,
  })
  .setStartCmd(
    'PADDOCK__AGENT__CLI_PATH="$(command -v claude)" paddock serve',
    waitForURL(`http://localhost:${PORT}/health/ready`),
  );

await Template.build(template, process.env.TEMPLATE_NAME ?? 'claude-agent-server', {
  cpuCount: 2,
  memoryMB: 2048,
  onBuildLogs: defaultBuildLogger(),
});
