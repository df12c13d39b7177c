// Getting in and out: keys that are good, are not, and are no longer.
import assert from 'node:assert/strict';
import { until } from './harness.mjs';

export default [
  {
    name: 'a wrong key is refused, a good one lets in, and signing out leaves nothing behind',
    async run(h) {
      const { key } = await h.key('doors', 'member', { user_id: 'alice' });
      const page = await h.page();
      const field = page.getByLabel(h.t('signIn.key'), { exact: true });
      await field.waitFor();
      await h.looked(page, 'sign-in');
      await field.fill('pdk_key_nobody_has_this_one');
      await page.getByRole('button', { name: h.t('signIn.submit') }).click();
      await page.getByRole('alert').waitFor();
      await h.signIn(page, key);
      await page.getByRole('heading', { level: 1, name: h.t('app.sessions') }).waitFor();
      const kept = () => page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie]));
      assert.ok(!(await kept()).includes(key), 'the key is kept though nobody asked for that');
      await page.getByRole('button', { name: h.t('app.account') }).click();
      await page.getByRole('menuitem', { name: h.t('app.signOut') }).click();
      await field.waitFor();
      await page.reload();
      await field.waitFor();
      assert.ok(!(await kept()).includes(key));
    },
  },
  {
    name: 'a key is kept over a reload only where that was asked for',
    async run(h) {
      const { key } = await h.key('doors', 'member', { user_id: 'alice' });
      const page = await h.page();
      await h.signIn(page, key, { keep: true });
      await page.reload();
      await page.getByRole('heading', { level: 1, name: h.t('app.sessions') }).waitFor();
      await page.getByRole('button', { name: h.t('app.account') }).click();
      await page.getByRole('menuitem', { name: h.t('app.signOut') }).click();
      await page.getByLabel(h.t('signIn.key'), { exact: true }).waitFor();
      assert.ok(!(await page.evaluate(() => JSON.stringify({ ...sessionStorage }))).includes(key));
    },
  },
  {
    name: 'a key that expires while it is used leads back to the door, and says why',
    async run(h) {
      const expires_at = new Date(Date.now() + 4000).toISOString();
      const { key } = await h.key('doors', 'member', { user_id: 'alice', expires_at });
      const page = await h.page({ key });
      await until('the key has expired', () => Date.now() > Date.parse(expires_at) + 200);
      await h.go(page, '/usage');
      await page.getByLabel(h.t('signIn.key'), { exact: true }).waitFor();
      await page.getByRole('status').filter({ hasText: 'expired' }).waitFor();
      // One goes on where one was going.
      const { key: other } = await h.key('doors', 'member', { user_id: 'alice' });
      await h.signIn(page, other);
      await page.getByRole('heading', { level: 1, name: h.t('usage.title') }).waitFor();
    },
  },
  {
    name: 'the console speaks Chinese, in every text',
    async run(h) {
      const { key } = await h.key('doors', 'owner');
      const page = await h.page();
      await h.signIn(page, key, { keep: true });
      await page.getByRole('button', { name: h.t('app.language') }).click();
      await page.getByRole('menuitemradio', { name: '中文' }).click();
      await page.getByRole('heading', { level: 1, name: h.chinese['app.sessions'] }).waitFor();
      assert.equal(await page.locator('html').getAttribute('lang'), 'zh-CN');
      assert.deepEqual(Object.keys(h.chinese).sort(), Object.keys(h.english).sort());
      await h.go(page, '/usage');
      await page.getByRole('heading', { level: 1, name: h.chinese['usage.title'] }).waitFor();
      await h.shot(page, 'usage-chinese');
      await page.reload();
      await page.getByRole('heading', { level: 1, name: h.chinese['usage.title'] }).waitFor();
    },
  },
];
