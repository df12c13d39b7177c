// The workspace: its files, what changed in them, going back, and showing it to others.
import assert from 'node:assert/strict';
import { until } from './harness.mjs';

/** One point, red. */
const PICTURE = Buffer.from('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC', 'base64');
let number = 0;

/** A session in a folder of its own, in which an agent has done some things. */
async function worked(h, { prompts = [], options = {}, role = 'member' } = {}) {
  const { key } = await h.key('files', role, role === 'member' ? { user_id: 'alice' } : {});
  number += 1;
  const session = await h.session(key, { title: 'Files', subdir: `files-${number}-${Date.now().toString(36)}`, options });
  for (const prompt of prompts) await h.turn(key, session.session_id, prompt);
  return { key, id: session.session_id };
}

const entry = (page, name) => page.getByRole('treeitem', { name: new RegExp(`^${name.replaceAll('.', '\\.')}`) });

export default [
  {
    name: 'files are browsed, shown as text and pictures, and searched',
    async run(h) {
      const { key, id } = await worked(h, {
        prompts: ['% bash mkdir -p src/deep && seq 1 300 > src/deep/numbers.txt && printf "<b onclick=alert(1)>bold</b>\\n" > page.html && head -c 2000 /dev/urandom > noise.bin'],
      });
      await fetch(`${h.url}/api/v1/sessions/${id}/files/content?path=dot.png`, {
        method: 'PUT', headers: { authorization: `Bearer ${key}`, 'content-type': 'application/octet-stream' }, body: PICTURE,
      });
      const page = await h.page({ key, at: `/sessions/${id}/files` });
      // By the keyboard alone: into a folder, and into the one in it.
      await entry(page, 'src').focus();
      await page.keyboard.press('ArrowRight');
      await entry(page, 'deep').waitFor();
      await page.keyboard.press('ArrowDown');
      await page.keyboard.press('ArrowRight');
      await entry(page, 'numbers.txt').waitFor();
      await page.keyboard.press('ArrowDown');
      await page.keyboard.press('Enter');
      const text = page.getByRole('region', { name: 'src/deep/numbers.txt' });
      await text.getByText('299').first().waitFor();
      assert.match(await page.locator('.text-numbers').innerText(), /^1\n2\n[\s\S]*\n300$/);
      await h.looked(page, 'files');

      await entry(page, 'page.html').click();
      await page.getByRole('region', { name: 'page.html' }).getByText('<b onclick=alert(1)>bold</b>').waitFor();
      assert.equal(await page.locator('.text b').count(), 0);
      await entry(page, 'noise.bin').click();
      await page.getByText(h.t('files.binary')).waitFor();
      await entry(page, 'dot.png').click();
      const picture = page.getByRole('img', { name: h.t('files.pictureOf', { name: 'dot.png' }) });
      await until('the picture is drawn', () => picture.evaluate((image) => image.complete && image.naturalWidth === 1));

      await page.getByRole('searchbox', { name: h.t('files.search') }).fill('29');
      await page.keyboard.press('Enter');
      await page.getByRole('region', { name: 'src/deep/numbers.txt' }).getByRole('button', { name: '129' }).waitFor();
      await h.looked(page, 'files-search');
    },
  },
  {
    name: 'files are uploaded, changed, moved, packed, unpacked and deleted',
    async run(h) {
      const { key, id } = await worked(h);
      const page = await h.page({ key, at: `/sessions/${id}/files` });
      const contentOf = async (path) => {
        const response = await fetch(`${h.url}/api/v1/sessions/${id}/files/content?path=${path}`, { headers: { authorization: `Bearer ${key}` } });
        return response.ok ? response.text() : response.status;
      };
      const pick = (name, text) => page.locator('.files-tools input[type=file]').setInputFiles({ name, mimeType: 'text/plain', buffer: Buffer.from(text) });
      await pick('one.txt', 'first');
      await entry(page, 'one.txt').waitFor();
      // Once more under the same name: only after a question.
      await pick('one.txt', 'second');
      await page.getByRole('dialog').getByRole('button', { name: h.t('files.overwriteNow') }).click();
      await until('it is written over', async () => (await contentOf('one.txt')) === 'second' || contentOf('one.txt'));

      // Dropped onto the page, as from the desktop.
      const transfer = await page.evaluateHandle(() => {
        const data = new DataTransfer();
        data.items.add(new File(['dropped'], 'dropped.txt', { type: 'text/plain' }));
        return data;
      });
      await page.locator('.files').dispatchEvent('drop', { dataTransfer: transfer });
      await entry(page, 'dropped.txt').waitFor();

      await entry(page, 'one.txt').click();
      await page.getByRole('button', { name: h.t('files.edit') }).click();
      const field = page.getByLabel(h.t('files.textOf', { name: 'one.txt' }));
      await field.fill('third');
      // An agent is faster.
      await fetch(`${h.url}/api/v1/sessions/${id}/files/content?path=one.txt`, {
        method: 'PUT', headers: { authorization: `Bearer ${key}`, 'content-type': 'application/octet-stream' }, body: 'by an agent',
      });
      await page.getByRole('button', { name: h.t('common.save') }).click();
      await page.getByText(h.t('files.conflict')).waitFor();
      assert.equal(await contentOf('one.txt'), 'by an agent');
      await page.getByRole('button', { name: h.t('files.takeMine') }).click();
      await page.getByRole('region', { name: 'one.txt' }).getByText('third').waitFor();

      await page.getByRole('button', { name: h.t('files.newFolder') }).click();
      await page.getByRole('dialog').getByLabel(h.t('files.name')).fill('box');
      await page.getByRole('dialog').getByRole('button', { name: h.t('files.make') }).click();
      await entry(page, 'box').waitFor();
      await entry(page, 'one.txt').click();
      await page.getByRole('button', { name: h.t('files.actionsOf', { name: 'one.txt' }) }).click();
      await page.getByRole('menuitem', { name: h.t('files.move') }).click();
      await page.getByRole('dialog').getByLabel(h.t('files.newPath')).fill('box/two.txt');
      await page.getByRole('dialog').getByRole('button', { name: h.t('files.move') }).click();
      await page.getByRole('region', { name: 'box/two.txt' }).getByText('third').waitFor();

      await entry(page, 'box').click();
      await page.getByRole('button', { name: h.t('files.moreActions') }).click();
      const [download] = await Promise.all([
        page.waitForEvent('download'),
        page.getByRole('menuitem', { name: h.t('files.archiveTar') }).click(),
      ]);
      assert.equal(download.suggestedFilename(), 'box.tar.gz');
      const packed = await download.path();
      await page.getByRole('button', { name: h.t('files.newFolder') }).click();
      await page.getByRole('dialog').getByLabel(h.t('files.name')).fill('again');
      await page.getByRole('dialog').getByRole('button', { name: h.t('files.make') }).click();
      await page.waitForURL(/files\/box\/again$/);
      await page.getByRole('button', { name: h.t('files.moreActions') }).click();
      await page.getByRole('menuitem', { name: h.t('files.unpack') }).click();
      await page.getByRole('dialog').locator('input[type=file]').setInputFiles({ name: 'box.tar.gz', mimeType: 'application/gzip', buffer: (await import('node:fs')).readFileSync(packed) });
      await page.getByRole('dialog').getByRole('button', { name: h.t('files.unpackNow') }).click();
      await page.getByText(h.t('files.unpacked', { count: 1 })).waitFor();

      await h.go(page, `/sessions/${id}/files/box`);
      await page.getByRole('button', { name: h.t('files.actionsOf', { name: 'box' }) }).click();
      await page.getByRole('menuitem', { name: h.t('common.delete') }).click();
      await page.getByRole('dialog').getByRole('button', { name: h.t('common.delete') }).click();
      await entry(page, 'box').waitFor({ state: 'detached' });
      assert.equal(await contentOf('box/two.txt'), 404);
    },
  },
  {
    name: 'what git says of the workspace is shown: changes, differences, history',
    async run(h) {
      const git = 'git -c user.name=Alice -c user.email=alice@example.com';
      const { key, id } = await worked(h, {
        prompts: [`% bash git init -q -b main . && printf "one\\ntwo\\nthree\\n" > a.txt && git add . && ${git} commit -q -m Begin && printf "one\\n2\\nthree\\n" > a.txt && echo new > b.txt`],
      });
      const page = await h.page({ key, at: `/sessions/${id}/changes` });
      await page.getByRole('tab', { name: h.t('changes.worktree') }).click();
      await page.getByRole('row').filter({ hasText: 'a.txt' }).getByText(h.t('diff.status.modified')).first().waitFor();
      await page.getByRole('row').filter({ hasText: 'b.txt' }).getByText(h.t('diff.status.untracked')).waitFor();
      await page.locator('.diff-removed .diff-text').filter({ hasText: 'two' }).waitFor();
      await page.locator('.diff-added .diff-text').filter({ hasText: '2' }).waitFor();
      await h.looked(page, 'changes');
      // From change to change by the keyboard, and folded by it.
      const fold = page.getByRole('button', { name: 'a.txt', exact: true });
      await fold.focus();
      await page.keyboard.press('j');
      assert.match(await page.evaluate(() => document.activeElement.textContent), /^@@/);
      await page.keyboard.press('k');
      await page.keyboard.press('Enter');
      assert.equal(await fold.getAttribute('aria-expanded'), 'false');
      await page.getByRole('tab', { name: h.t('changes.history') }).click();
      await page.getByRole('button', { name: 'Begin' }).click();
      await page.locator('.diff-added .diff-text').filter({ hasText: 'three' }).waitFor();
    },
  },
  {
    name: 'a workspace without git says so',
    async run(h) {
      const { key, id } = await worked(h);
      const page = await h.page({ key, at: `/sessions/${id}/changes` });
      await page.getByRole('tab', { name: h.t('changes.worktree') }).click();
      await page.getByText(h.t('changes.noRepository')).waitFor();
    },
  },
  {
    name: 'what a turn changed is shown, and taken back',
    async run(h) {
      const { key, id } = await worked(h, { options: { checkpoints: true }, prompts: ['% write plan.txt good\n% results', '% write plan.txt bad\n% results'] });
      const page = await h.page({ key, at: `/sessions/${id}` });
      const menu = page.getByRole('button', { name: h.t('conversation.turnActions') }).last();
      await menu.click();
      await page.getByRole('menuitem', { name: h.t('conversation.whatChanged') }).click();
      await page.locator('.diff-removed .diff-text').filter({ hasText: 'good' }).waitFor();
      await page.locator('.diff-added .diff-text').filter({ hasText: 'bad' }).waitFor();
      await h.looked(page, 'turn-diff');
      await page.getByRole('link', { name: h.t('diff.toTurn') }).click();
      await menu.click();
      await page.getByRole('menuitem', { name: h.t('conversation.rewind') }).click();
      await h.accessible(page, 'the dialog to rewind');
      await page.getByRole('dialog').getByRole('button', { name: h.t('rewind.submit'), exact: true }).click();
      await page.getByText(h.t('notice.rewound')).first().waitFor();
      const { output } = (await h.turn(key, id, '% bash cat plan.txt')).tool_calls[0];
      assert.match(output, /good/);
    },
  },
  {
    name: 'a session is forked with the files as they were before a turn',
    async run(h) {
      const { key, id } = await worked(h, { options: { checkpoints: true }, prompts: ['% write plan.txt good\n% results', '% write plan.txt bad\n% results'] });
      const page = await h.page({ key, at: `/sessions/${id}` });
      await page.getByRole('button', { name: h.t('conversation.turnActions') }).last().click();
      await page.getByRole('menuitem', { name: h.t('conversation.fork') }).click();
      await page.getByLabel(h.t('fork.point')).selectOption({ label: h.t('fork.beforeFiles') });
      await page.getByRole('dialog').getByRole('button', { name: h.t('fork.submit'), exact: true }).click();
      await page.waitForURL((url) => url.hash.startsWith('#/sessions/ses_') && !url.hash.includes(id));
      const fork = new URL(page.url()).hash.split('/')[2];
      assert.match((await h.turn(key, fork, '% bash cat plan.txt')).tool_calls[0].output, /good/);
      assert.match((await h.turn(key, id, '% bash cat plan.txt')).tool_calls[0].output, /bad/);
    },
  },
  {
    name: 'a link shows a session to whoever has it, until it is revoked, and lets nothing be changed',
    async run(h) {
      const { key, id } = await worked(h, { prompts: ['% write shared.txt hello\n% say Look at this.'] });
      const page = await h.page({ key, at: `/sessions/${id}` });
      const openDialog = async () => {
        await page.getByRole('button', { name: h.t('common.moreActions') }).click();
        await page.getByRole('menuitem', { name: h.t('session.share') }).click();
      };
      await h.api(h.adminKey, 'PATCH', '/api/v1/admin/tenants/files', { policy: { share_links: false } });
      await openDialog();
      await page.getByRole('dialog').getByRole('button', { name: h.t('share.make') }).click();
      await page.getByText(h.t('share.forbidden')).waitFor();
      await page.keyboard.press('Escape');
      await h.api(h.adminKey, 'PATCH', '/api/v1/admin/tenants/files', { policy: { share_links: true } });
      await openDialog();
      await page.getByRole('dialog').getByLabel(h.t('share.files')).check();
      await page.getByRole('dialog').getByRole('button', { name: h.t('share.make') }).click();
      const link = await page.getByLabel(h.t('share.link'), { exact: true }).inputValue();
      await h.looked(page, 'share-dialog');
      const guest = await h.page({ at: new URL(link).hash.slice(1) });
      await guest.getByText('Look at this.').first().waitFor();
      assert.equal(await guest.getByLabel(h.t('composer.label'), { exact: true }).count(), 0);
      await h.looked(guest, 'shared');
      await guest.getByRole('tab', { name: h.t('session.files') }).click();
      await entry(guest, 'shared.txt').click();
      await guest.getByRole('region', { name: 'shared.txt' }).getByText('hello').waitFor();
      assert.equal(await guest.getByRole('button', { name: h.t('files.edit') }).count(), 0);
      await page.getByRole('dialog').getByRole('button', { name: h.t('admin.revoke') }).click();
      await page.getByText(h.t('share.revoked')).waitFor();
      await guest.reload();
      await guest.getByText(h.t('shared.over')).waitFor();
    },
  },
];
