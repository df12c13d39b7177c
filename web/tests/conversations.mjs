// Talking with an agent: the real CLI on the scripted model.
import assert from 'node:assert/strict';
import { until } from './harness.mjs';

const counted = (count) => Array.from({ length: count }, (_, at) => `word${at + 1}`).join(' ');
const questions = JSON.stringify({
  questions: [
    {
      question: 'Which colour?',
      header: 'Colour',
      multiSelect: false,
      options: [
        { label: 'red', description: 'like a rose' },
        { label: 'blue', description: 'like the sky' },
      ],
    },
  ],
});

/** The transcript, and what it says on one line, without the prompts. */
const transcript = (h, page) => page.getByRole('region', { name: h.t('session.conversation') });
const textOf = async (h, page) => {
  const rows = await transcript(h, page).locator('.virtual-row').evaluateAll((all) =>
    all
      .filter((row) => row.querySelector('.prompt-row') === null)
      .sort((a, b) => Number(a.dataset.index) - Number(b.dataset.index))
      .map((row) => row.innerText),
  );
  return rows.join(' ').replace(/\s+/g, ' ');
};

/** Waits until the transcript has a text. */
const says = (h, page, text) => until(`the conversation has “${text.slice(0, 40)}”`, async () => (await textOf(h, page)).includes(text) || (await textOf(h, page)).slice(-200));

/** Sends a prompt. */
async function prompt(h, page, text) {
  await page.getByLabel(h.t('composer.label'), { exact: true }).fill(text);
  await page.getByLabel(h.t('composer.label'), { exact: true }).press('Enter');
}

/** A page that shows a new session, which asks before all but reading. */
async function talking(h, { options = { permission_mode: 'default', allowed_tools: ['Read'] }, ...more } = {}) {
  const { key } = await h.key('talk', 'member', { user_id: 'alice' });
  const session = await h.session(key, { options, title: 'A talk', ...more });
  const page = await h.page({ key, at: `/sessions/${session.session_id}` });
  await page.getByLabel(h.t('composer.label'), { exact: true }).waitFor();
  return { key, page, id: session.session_id };
}

export default [
  {
    name: 'a session is made, and its answer comes word by word',
    async run(h) {
      const { key } = await h.key('talk', 'member', { user_id: 'alice' });
      const page = await h.page({ key });
      await page.getByRole('button', { name: h.t('sessions.new') }).first().click();
      const dialog = page.getByRole('dialog');
      await h.looked(page, 'new-session');
      await dialog.getByLabel(h.t('new.prompt')).fill('% words 30 every 60ms');
      await dialog.getByRole('button', { name: h.t('new.submit') }).click();
      await page.waitForURL(/#\/sessions\/ses_/);
      const seen = new Set();
      await until('all words are there', async () => {
        const text = await textOf(h, page);
        const last = text.match(/word(\d+)(?!.*word\d)/)?.[1];
        if (last) seen.add(Number(last));
        return text.includes(counted(30)) || text.slice(-80);
      });
      assert.ok(seen.size >= 3, `it came all at once: ${[...seen]}`);
      await h.looked(page, 'conversation');
      await h.go(page, '/sessions');
      await page.getByRole('main').getByRole('link', { name: /words 30/ }).first().waitFor();
      await h.looked(page, 'sessions');
    },
  },
  {
    name: 'a session is renamed, looked into, and closed; closed, it is still read',
    async run(h) {
      const { page, key, id } = await talking(h);
      await prompt(h, page, 'Remember the number 7.');
      await says(h, page, 'I will remember that.');
      const choose = async (item) => {
        await page.getByRole('button', { name: h.t('common.moreActions') }).click();
        await page.getByRole('menuitem', { name: item, exact: true }).click();
      };
      await choose(h.t('session.rename'));
      await page.getByRole('dialog').getByLabel(h.t('session.titleLabel')).fill('Sevens');
      await page.getByRole('dialog').getByRole('button', { name: h.t('common.save') }).click();
      await page.getByRole('heading', { level: 1, name: 'Sevens' }).waitFor();
      await choose(h.t('session.details'));
      await page.getByRole('dialog').getByText(id).first().waitFor();
      await h.accessible(page, 'the details of a session');
      await page.keyboard.press('Escape');
      await page.getByRole('dialog').waitFor({ state: 'detached' });
      await choose(h.t('session.close'));
      await page.getByRole('dialog').getByRole('button', { name: h.t('session.closeSubmit') }).click();
      await page.waitForURL(/#\/sessions$/);
      assert.equal((await h.api(key, 'GET', `/api/v1/sessions/${id}`)).status, 'closed');
      await h.go(page, `/sessions/${id}`);
      await says(h, page, 'I will remember that.');
      await page.getByText(h.t('session.closedHint')).waitFor();
      assert.equal(await page.getByLabel(h.t('composer.label'), { exact: true }).count(), 0);
      assert.equal(await page.getByText(h.t('conversation.reconnecting')).count(), 0);
    },
  },
  {
    name: 'a turn is stopped',
    async run(h) {
      const { page } = await talking(h);
      await prompt(h, page, '% words 2000 every 50ms');
      await says(h, page, 'word3');
      await page.getByRole('button', { name: h.t('composer.stop') }).click();
      await says(h, page, h.t('conversation.interrupted'));
      assert.ok(!(await textOf(h, page)).includes('word2000'));
      await prompt(h, page, '% say And on.');
      await says(h, page, 'And on.');
    },
  },
  {
    name: 'what an agent asks is allowed, denied with a reason, and answered',
    async run(h) {
      const { page, key, id } = await talking(h);
      await prompt(h, page, '% write allowed.txt yes\n% say It is written.');
      const ask = page.getByRole('group', { name: h.t('permission.asks', { tool: 'Write' }) });
      await ask.waitFor();
      await h.looked(page, 'permission');
      await ask.getByRole('button', { name: h.t('permission.allow'), exact: true }).click();
      await says(h, page, 'It is written.');

      await prompt(h, page, '% write denied.txt no\n% results');
      await ask.getByRole('button', { name: h.t('permission.deny') }).click();
      await ask.getByLabel(h.t('permission.why')).fill('Not in this house.');
      await ask.getByRole('button', { name: h.t('permission.deny') }).click();
      await says(h, page, 'Not in this house.');

      await prompt(h, page, `% tool AskUserQuestion ${questions}\n% results`);
      await page.getByRole('group', { name: 'Which colour?' }).waitFor();
      await h.looked(page, 'question');
      await page.getByLabel(/^blue/).check();
      await page.getByRole('button', { name: h.t('permission.answer'), exact: true }).click();
      await until('the turn is over', async () => {
        const turns = await h.api(key, 'GET', `/api/v1/sessions/${id}/turns?limit=1`);
        return turns.data[0].status === 'completed' || turns.data[0].status;
      });
      await says(h, page, 'blue');
    },
  },
  {
    name: 'the inbox holds what agents ask, and it is answered there',
    async run(h) {
      const { page, key, id } = await talking(h);
      await prompt(h, page, '% write inbox.txt yes\n% say Thank you.');
      await page.getByRole('group', { name: h.t('permission.asks', { tool: 'Write' }) }).waitFor();
      await h.go(page, '/inbox');
      const allow = page.getByRole('button', { name: h.t('permission.allow'), exact: true }).first();
      await allow.waitFor();
      await h.looked(page, 'inbox');
      await allow.click();
      await until('the turn is over', async () => (await h.api(key, 'GET', `/api/v1/sessions/${id}/turns?limit=1`)).data[0].status === 'completed');
      await page.getByText(h.t('inbox.empty')).waitFor();
    },
  },
  {
    name: 'files are attached to a prompt',
    async run(h) {
      const { page } = await talking(h);
      await page.locator('.composer input[type=file]').setInputFiles({ name: 'notes.txt', mimeType: 'text/plain', buffer: Buffer.from('forty-two') });
      await page.getByRole('list', { name: h.t('conversation.attachments') }).getByText('notes.txt').waitFor();
      await prompt(h, page, 'What is in it?');
      await transcript(h, page).getByRole('list', { name: h.t('conversation.attachments') }).getByText('notes.txt').waitFor();
      await says(h, page, 'You said:');
    },
  },
  {
    name: 'a session is forked at a turn',
    async run(h) {
      const { page, id } = await talking(h);
      await prompt(h, page, 'Remember the number 42.');
      await says(h, page, 'I will remember that.');
      await page.getByRole('button', { name: h.t('conversation.turnActions') }).click();
      await page.getByRole('menuitem', { name: h.t('conversation.fork') }).click();
      await page.getByRole('dialog').getByRole('button', { name: h.t('fork.submit'), exact: true }).click();
      await page.waitForURL((url) => url.hash.startsWith('#/sessions/ses_') && !url.hash.includes(id));
      await prompt(h, page, 'Which number did I ask you to remember?');
      await says(h, page, '42');
    },
  },
  {
    name: 'a connection that is cut in the middle of an answer loses no word and repeats none',
    async run(h) {
      const { key } = await h.key('talk', 'member', { user_id: 'alice' });
      const { session_id: id } = await h.session(key);
      const page = await h.page({ key, at: `/sessions/${id}`, through: h.proxy.url });
      await prompt(h, page, '% words 60 every 60ms');
      await says(h, page, 'word10');
      h.proxy.cut();
      await page.getByText(h.t('conversation.reconnecting')).waitFor();
      h.proxy.mend();
      await says(h, page, 'word60');
      const text = await textOf(h, page);
      assert.equal(text.match(/word\d+/g).filter((word) => word !== 'words').join(' '), counted(60), text);
    },
  },
  {
    name: 'two windows on one session show the same, and an answer given in one stands in both',
    async run(h) {
      const { page: first, key, id } = await talking(h);
      const second = await h.page({ key, at: `/sessions/${id}` });
      await prompt(h, first, '% write both.txt yes\n% say Both.');
      const ask = (page) => page.getByRole('group', { name: h.t('permission.asks', { tool: 'Write' }) });
      await ask(first).waitFor();
      await ask(second).getByRole('button', { name: h.t('permission.allow'), exact: true }).click();
      for (const page of [first, second]) {
        await says(h, page, 'Both.');
        await ask(page).waitFor({ state: 'detached' });
      }
    },
  },
  {
    name: 'what an agent says is text, whatever it looks like',
    async run(h) {
      const { page } = await talking(h);
      const evil = '<img src="http://outside.example/x.png" onerror="document.title=1"> <script>document.title=2</script> [link](javascript:document.title=3) ![picture](http://outside.example/y.png)';
      await prompt(h, page, `% say ${evil} END`);
      await says(h, page, 'END');
      assert.ok(!['1', '2', '3'].includes(await page.title()));
      assert.equal(await transcript(h, page).locator('script, a[href^="javascript:"], img[src^="http"]').count(), 0);
    },
  },
];
