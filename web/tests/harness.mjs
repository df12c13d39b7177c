// What the tests of the console work with: a browser that lets nothing pass unseen, the API for what is only set up, and the
// console's own words.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import net from 'node:net';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const web = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
const require = createRequire(path.join(web, 'package.json'));

/** A package of the console's own development dependencies. */
function tool(name) {
  try {
    return require(name);
  } catch (error) {
    if (error.code !== 'MODULE_NOT_FOUND') throw error;
    throw new Error(`${name} is not installed; run make web`);
  }
}

const axeSource = fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
/** Longer than anything takes on a loaded machine. */
export const PATIENCE_MS = 20_000;
export const DESKTOP = { width: 1280, height: 860 };
export const PHONE = { width: 390, height: 844 };

/** The words of a language, as the console has them in its source. */
function words(language) {
  const texts = {};
  for (const part of ['core', 'views']) {
    const source = fs.readFileSync(path.join(web, `src/i18n/${part}.${language}.ts`), 'utf8');
    for (const [, key, single, double] of source.matchAll(/^ {2}'([^']+)':\s*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")/gm)) {
      texts[key] = (single ?? double).replace(/\\(.)/g, '$1');
    }
  }
  return texts;
}

/** Passes connections on to a server, until it is cut. */
async function startProxy(target) {
  const { hostname, port } = new URL(target);
  const open = new Set();
  let cut = false;
  const server = net.createServer((client) => {
    if (cut) {
      client.destroy();
      return;
    }
    const upstream = net.connect(Number(port), hostname);
    for (const [socket, other] of [[client, upstream], [upstream, client]]) {
      open.add(socket);
      socket.on('error', () => other.destroy());
      socket.on('close', () => {
        open.delete(socket);
        other.destroy();
      });
      socket.pipe(other);
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    /** Breaks all connections, and takes no new ones. */
    cut: () => {
      cut = true;
      for (const socket of open) socket.destroy();
    },
    mend: () => {
      cut = false;
    },
    stop: () => {
      cut = true;
      for (const socket of open) socket.destroy();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Opens the browser. Resolves to what the tests are given. */
export async function openHarness({ url, adminKey, screens, executable }) {
  const { chromium } = tool('playwright-core');
  const browser = await chromium.launch({
    executablePath: executable,
    // The tests' own pages are all that it sees; as root it has no sandbox.
    args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--no-first-run'],
  });
  const proxy = await startProxy(url);
  fs.mkdirSync(screens, { recursive: true });
  for (const file of fs.readdirSync(screens)) if (file.endsWith('.png')) fs.rmSync(path.join(screens, file));
  const english = words('en');
  const problems = [];
  const contexts = new Set();

  const harness = {
    url,
    adminKey,
    proxy,
    english,
    chinese: words('zh'),
    problems,

    /** A text of the console, as it stands on its page. */
    t(key, values = {}) {
      const text = english[key];
      assert.ok(text !== undefined, `there is no text ${key}`);
      const forms = text.split(' | ');
      const chosen = forms.length === 2 && 'count' in values ? forms[values.count === 1 ? 0 : 1] : text;
      return chosen.replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole));
    },

    /** Asks the API, past the browser. */
    async api(key, method, to, body) {
      const response = await fetch(url + to, {
        method,
        headers: { authorization: `Bearer ${key}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      const text = await response.text();
      assert.ok(response.ok, `${method} ${to}: ${response.status} ${text}`);
      return text === '' ? undefined : JSON.parse(text);
    },

    /** A new key of a tenant; the tenant is made if it is new. */
    async key(tenant, role, more = {}) {
      const there = await fetch(`${url}/api/v1/admin/tenants/${tenant}`, { headers: { authorization: `Bearer ${adminKey}` } });
      if (there.status === 404) await harness.api(adminKey, 'POST', '/api/v1/admin/tenants', { name: tenant });
      const name = `${role}-${Math.random().toString(36).slice(2, 8)}`;
      return harness.api(adminKey, 'POST', `/api/v1/admin/tenants/${tenant}/keys`, { name, role, ...more });
    },

    /** A new session. */
    session(key, body = {}) {
      return harness.api(key, 'POST', '/api/v1/sessions', { user_id: 'alice', ...body });
    },

    /** A turn, to its end. */
    turn(key, session, message) {
      return harness.api(key, 'POST', `/api/v1/sessions/${session}/messages`, { message });
    },

    /** A page in a context of its own, signed in where there is a key. It tells all that should not be. */
    async page({ key, at = '/', theme = 'light', size = DESKTOP, language = 'en', through = url, allowed = [], context } = {}) {
      const own = context ?? (await browser.newContext({
        viewport: size,
        colorScheme: theme,
        locale: language === 'zh' ? 'zh-CN' : 'en-GB',
        reducedMotion: 'reduce',
        acceptDownloads: true,
        permissions: ['clipboard-read', 'clipboard-write'],
      }));
      if (context === undefined) {
        contexts.add(own);
        own.setDefaultTimeout(PATIENCE_MS);
        await own.addInitScript(() => {
          addEventListener('securitypolicyviolation', (event) => console.error(`POLICY ${event.violatedDirective} ${event.blockedURI}`));
        });
        own.on('request', (request) => {
          const asked = new URL(request.url());
          if (!['blob:', 'data:'].includes(asked.protocol) && asked.origin !== through) problems.push(`a request to ${asked.href}`);
        });
      }
      const page = await own.newPage();
      page.on('pageerror', (error) => problems.push(`an error in the page: ${error.stack ?? error}`));
      page.on('console', (message) => {
        if (message.type() !== 'error') return;
        const text = message.text();
        // What the network answered is the page's to tell; the tests look at that.
        if (text.startsWith('Failed to load resource')) return;
        if (!allowed.some((pattern) => pattern.test(text))) problems.push(`the console of ${page.url().replace(/shared\/.*/, 'shared/…')}: ${text}`);
      });
      await page.goto(`${through}/#${at}`);
      if (key !== undefined) await harness.signIn(page, key);
      return page;
    },

    /** Signs in on the page that asks for a key. */
    async signIn(page, key, { keep = false } = {}) {
      await page.getByLabel(harness.t('signIn.key'), { exact: true }).fill(key);
      if (keep) await page.getByLabel(harness.t('signIn.remember')).check();
      await page.getByRole('button', { name: harness.t('signIn.submit') }).click();
      await page.getByRole('navigation', { name: harness.t('app.navigation') }).waitFor({ state: 'attached' });
    },

    /** Goes to another page of the console without loading it anew. */
    async go(page, to) {
      await page.evaluate((hash) => {
        location.hash = hash;
      }, to);
    },

    /** Keeps a picture of the page. */
    async shot(page, name) {
      await page.screenshot({ path: path.join(screens, `${name}.png`) });
    },

    /** Fails where axe finds something serious. */
    async accessible(page, name) {
      // Not as an element of the page: the policy for contents would not have it.
      if (!(await page.evaluate('typeof window.axe === "object"'))) await page.evaluate(axeSource);
      const violations = await page.evaluate(async () => (await window.axe.run(document, { resultTypes: ['violations'] })).violations);
      const bad = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
      const told = bad.map(({ id, help, nodes }) => `${id}: ${help}\n    ${nodes.slice(0, 3).map(({ html, any }) => `${html.slice(0, 160)} ${any[0]?.message ?? ''}`).join('\n    ')}`);
      assert.equal(bad.length, 0, `${name} is not accessible:\n  ${told.join('\n  ')}`);
    },

    /** Fails where a page is wider than the screen. */
    async fits(page, name) {
      const [wide, most] = await page.evaluate(() => [document.scrollingElement.scrollWidth, innerWidth]);
      assert.ok(wide <= most, `${name} is ${wide} wide on a screen of ${most}`);
    },

    /** Looks at a page in light, dark, and on a phone. */
    async looked(page, name) {
      for (const theme of ['light', 'dark']) {
        await page.emulateMedia({ colorScheme: theme, reducedMotion: 'reduce' });
        // What changes its colours has changed them two pictures later.
        await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(resolve, 50)))));
        await harness.accessible(page, `${name} in ${theme}`);
        await harness.shot(page, `${name}-${theme}`);
      }
      const size = page.viewportSize();
      await page.setViewportSize(PHONE);
      await harness.fits(page, name);
      await harness.shot(page, `${name}-phone`);
      await page.setViewportSize(size);
      await page.emulateMedia({ colorScheme: 'light' });
    },

    /** Ends what a test has opened. */
    async close() {
      await Promise.all([...contexts].map((context) => context.close()));
      contexts.clear();
      proxy.mend();
    },

    /** Keeps pictures of all that is open. */
    async failed(name) {
      let number = 0;
      for (const context of contexts) {
        for (const page of context.pages()) {
          number += 1;
          await page.screenshot({ path: path.join(screens, `failed-${name.replace(/\W+/g, '-')}-${number}.png`) }).catch(() => {});
        }
      }
    },

    async stop() {
      await harness.close();
      await browser.close();
      await proxy.stop();
    },
  };
  return harness;
}

/** Waits until something holds. What it says while it does not is told when it never does. */
export async function until(what, look, within = PATIENCE_MS) {
  const end = Date.now() + within;
  for (;;) {
    const seen = await look();
    if (seen === true) return;
    if (Date.now() > end) throw new Error(`${what}: still ${JSON.stringify(seen)}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
