/** How the console is built: hashed files under /console/, nothing inlined, so that a strict policy for contents holds. */

import react from '@vitejs/plugin-react';
import { defineConfig } from 'vitest/config';

// Where the server is while the console is worked on.
const server = 'http://127.0.0.1:8000';
const proxied = ['/api', '/openapi.json', '/docs', '/health'];

export default defineConfig({
  base: '/console/',
  plugins: [react()],
  resolve: { alias: { '@paddock/client': new URL('../clients/typescript/src', import.meta.url).pathname } },
  build: {
    outDir: 'dist',
    target: 'es2022',
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    // The notices of what is bundled, which have to go along with it.
    license: { fileName: 'licenses.txt' },
    reportCompressedSize: true,
  },
  server: {
    port: 5173,
    proxy: Object.fromEntries(proxied.map((path) => [path, { target: server, changeOrigin: true, ws: true }])),
  },
  test: { include: ['src/**/*.test.ts'], environment: 'node' },
});
