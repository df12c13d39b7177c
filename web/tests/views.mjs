// Usage, administration, the log.
import assert from 'node:assert/strict';
import { long } from './archive.mjs';
import { until } from './harness.mjs';

/** The most elements that a page of ten thousand events may have. */
const ELEMENTS_MAX = 4000;
/** What the page may work for a picture while one scrolls, in time of the processor: other work on the machine does not count. */
const WORK_MS = 50;

/** Scrolls through a box, in jumps and in steps as of a wheel. Tells the most elements, and the work for each picture. */
async function scrolled(page, locator) {
  const session = await page.context().newCDPSession(page);
  await session.send('Performance.enable', { timeDomain: 'threadTicks' });
  const worked = async () => (await session.send('Performance.getMetrics')).metrics.find(({ name }) => name === 'TaskDuration').value;
  const before = await worked();
  const seen = await locator.evaluate(async (box) => {
    let elements = 0;
    let pictures = 0;
    const look = async (top) => {
      box.scrollTop = top;
      await new Promise((resolve) => requestAnimationFrame(resolve));
      pictures += 1;
      elements = Math.max(elements, document.querySelectorAll('*').length);
    };
    const room = box.scrollHeight - box.clientHeight;
    for (let jump = 0; jump <= 20; jump += 1) await look(room * (jump % 2 === 0 ? jump / 20 : 1 - jump / 20));
    for (let step = 0; step < 60; step += 1) await look(room / 2 + step * 120);
    return { elements, pictures, height: box.scrollHeight };
  });
  const work = ((await worked()) - before) * 1000;
  await session.detach();
  return { ...seen, work: work / seen.pictures };
}

export default [
  {
    name: 'what was used is told by day, user, model and session, as charts and as tables',
    async run(h) {
      const { key } = await h.key('spenders', 'owner');
      const { session_id: id } = await h.session(key);
      await h.turn(key, id, '% usage input=1000 output=500\n% say Spent.');
      await h.api(key, 'PUT', '/api/v1/admin/tenants/spenders/budgets', { scope: 'tenant', period: 'month', max_usd: 10 });
      const page = await h.page({ key, at: '/usage' });
      await page.getByRole('figure').first().waitFor();
      await page.getByRole('progressbar').waitFor();
      await page.locator('.chart canvas').first().waitFor();
      for (const [tab, cell] of [['user', 'alice'], ['model', 'claude'], ['session', id]]) {
        await page.getByRole('tab', { name: h.t(`usage.group.${tab}`) }).click();
        await page.getByRole('tabpanel').getByRole('cell', { name: cell }).first().waitFor();
      }
      await page.getByText(h.t('usage.tableByDay')).first().click();
      await page.getByRole('cell', { name: new Date().toISOString().slice(0, 10) }).waitFor();
      await h.looked(page, 'usage');
    },
  },
  {
    name: 'a key is made, shown once, used and revoked',
    async run(h) {
      const page = await h.page({ key: h.adminKey, at: '/admin' });
      await page.getByRole('button', { name: h.t('admin.newTenant') }).click();
      await page.getByRole('dialog').getByLabel(h.t('admin.name')).fill('made-here');
      await page.getByRole('dialog').getByRole('button', { name: h.t('admin.make') }).click();
      await page.getByRole('heading', { level: 2, name: 'made-here' }).waitFor();
      await page.getByRole('button', { name: h.t('admin.newKey') }).click();
      await page.getByRole('dialog').getByLabel(h.t('admin.name')).fill('colleague');
      await h.accessible(page, 'the dialog for a key');
      await page.getByRole('dialog').getByRole('button', { name: h.t('admin.make') }).click();
      const secret = await page.locator('[data-secret]').innerText();
      assert.match(secret, /^pdk_/);
      await h.accessible(page, 'the dialog with a key');
      await page.getByRole('button', { name: h.t('admin.keyKept') }).click();
      await page.getByRole('cell', { name: 'colleague', exact: true }).waitFor();
      assert.ok(!(await page.content()).includes(secret), 'the key is still in the page');
      await h.looked(page, 'admin-keys');
      assert.equal((await h.api(secret, 'GET', '/api/v1/me')).tenant, 'made-here');
      await page.getByRole('button', { name: h.t('admin.revokeOf', { name: 'colleague' }) }).click();
      await page.getByRole('dialog').getByRole('button', { name: h.t('admin.revoke') }).click();
      await page.getByText(h.t('admin.noKeys')).waitFor();
      const refused = await fetch(`${h.url}/api/v1/me`, { headers: { authorization: `Bearer ${secret}` } });
      assert.equal(refused.status, 401);
    },
  },
  {
    name: 'limits, policy and budgets of a tenant are changed, and the audit tells it',
    async run(h) {
      await h.key('terms', 'owner');
      const page = await h.page({ key: h.adminKey, at: '/admin/tenants/terms/terms' });
      await page.getByLabel(h.t('limit.sessions_max'), { exact: true }).fill('7');
      await page.getByLabel(h.t('admin.policyJson')).fill('{"models": ["claude-*"]}');
      await page.getByRole('button', { name: h.t('common.save') }).click();
      await page.getByText(h.t('admin.saved')).waitFor();
      const tenant = await h.api(h.adminKey, 'GET', '/api/v1/admin/tenants/terms');
      assert.deepEqual([tenant.limits, tenant.policy.models], [{ sessions_max: 7 }, ['claude-*']]);
      await page.getByLabel(h.t('admin.policyJson')).fill('{"model_names": []}');
      await page.getByRole('button', { name: h.t('common.save') }).click();
      await page.getByRole('alert').getByText('model_names').first().waitFor();
      await h.looked(page, 'admin-terms');

      await h.go(page, '/admin/tenants/terms/budgets');
      await page.getByRole('button', { name: h.t('budget.new') }).click();
      await page.getByLabel(h.t('budget.maxUsd')).fill('25');
      await page.getByRole('dialog').getByRole('button', { name: h.t('common.save') }).click();
      await page.getByRole('progressbar').waitFor();
      await h.looked(page, 'admin-budgets');

      await h.go(page, '/admin/audit');
      await page.getByLabel(h.t('admin.tenant'), { exact: true }).selectOption('terms');
      await page.getByRole('cell', { name: 'tenant_changed' }).first().waitFor();
      await h.looked(page, 'admin-audit');
    },
  },
  {
    name: 'who may not administer sees no way to it, and an owner sees its own tenant',
    async run(h) {
      const { key: member } = await h.key('roles', 'member', { user_id: 'alice' });
      const page = await h.page({ key: member, at: '/admin' });
      await page.getByText(h.t('admin.forbidden')).waitFor();
      assert.equal(await page.getByRole('link', { name: h.t('app.admin') }).count(), 0);
      const { key: owner } = await h.key('roles', 'owner');
      const other = await h.page({ key: owner, at: '/admin' });
      await other.getByRole('heading', { level: 2, name: 'roles' }).waitFor();
      await h.go(other, '/admin/tenants/roles/terms');
      await other.getByText(h.t('limit.sessions_max'), { exact: true }).waitFor();
      assert.equal(await other.getByRole('button', { name: h.t('common.save') }).count(), 0);
    },
  },
  {
    name: 'the log is followed, filtered and looked into',
    async run(h) {
      const { key } = await h.key('logs', 'member', { user_id: 'alice' });
      const { session_id: id } = await h.session(key, { options: { agent_messages: true } });
      await h.turn(key, id, '% write a.txt hello\n% say First.');
      const page = await h.page({ key, at: `/sessions/${id}/log` });
      const rows = page.getByRole('listbox', { name: h.t('log.events') });
      await rows.getByText('tool_use', { exact: true }).first().waitFor();
      await h.turn(key, id, '% say Second.');
      await rows.getByText('Second.').first().waitFor();
      await page.getByRole('button', { name: /^tool_use/ }).click();
      await until('calls are hidden', async () => (await rows.getByText('tool_use', { exact: true }).count()) === 0);
      await page.getByLabel(h.t('log.search')).fill('First.');
      await rows.getByRole('option').filter({ hasText: 'done' }).click();
      await page.getByRole('complementary', { name: h.t('log.inspector') }).getByText('stop_reason').waitFor();
      await h.looked(page, 'log');
      await page.getByLabel(h.t('log.search')).fill('');
      await page.getByLabel(h.t('log.raw')).check();
      await page.getByRole('button', { name: /^agent_message/ }).waitFor();
    },
  },
  {
    name: 'ten thousand events scroll smoothly, in the log and as a conversation',
    async run(h) {
      const { key } = await h.key(long.tenant, 'reader');
      const page = await h.page({ key, at: `/sessions/${long.session}/log` });
      const rows = page.getByRole('listbox', { name: h.t('log.events') });
      await rows.waitFor();
      const count = /10,000/;
      await page.getByRole('status').filter({ hasText: count }).first().waitFor();
      const log = await scrolled(page, rows);
      await h.go(page, `/sessions/${long.session}`);
      const transcript = page.getByRole('region', { name: h.t('session.conversation') });
      await transcript.getByText('File 999 holds').waitFor();
      const talk = await scrolled(page, transcript);
      await h.shot(page, 'long-conversation');
      console.log(`    log: ${log.elements} elements, ${log.work.toFixed(1)} ms a picture; conversation: ${talk.elements} elements, ${talk.work.toFixed(1)} ms`);
      for (const [name, { elements, work, height }] of Object.entries({ log, talk })) {
        assert.ok(height > 50_000, `${name} is only ${height} high`);
        assert.ok(elements < ELEMENTS_MAX, `${name} has ${elements} elements`);
        assert.ok(work < WORK_MS, `${name} works ${work} ms for a picture`);
      }
    },
  },
];
