import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

export default defineConfig({
  plugins: [react()],
  build: {
    // Served by the API and packed into the wheel.
    outDir: "../devmesh/api/ui",
    emptyOutDir: true,
    // Everything is a file of its own: the page runs under a content security policy without data: fonts or images.
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 900,
  },
  server: { proxy: { "/devmesh": "http://127.0.0.1:20999" } },
  test: { include: ["src/**/*.test.ts"], environment: "node" },
});
