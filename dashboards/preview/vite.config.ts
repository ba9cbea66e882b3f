import { defineConfig } from 'vite';

export default defineConfig({
  base: './',
  define: { 'process.env': {}, global: 'globalThis' },
  build: { chunkSizeWarningLimit: 20_000, minify: false, reportCompressedSize: false },
});
