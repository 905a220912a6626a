import type { components } from "./schema";

/**
 * The console's API as the page uses it; schema.ts is generated from the API's own description (npm run types), which
 * explains each field. Rates are per second, latencies milliseconds, sizes bytes per second, shares 0 to 1.
 */
type Schemas = components["schemas"];

export type Graph = Schemas["Graph"];
export type MeshNode = Schemas["Node"];
export type MeshEdge = Schemas["Edge"];
export type Status = Schemas["Status"];
export type WorkloadStatus = Schemas["WorkloadStatus"];

export type Health = MeshNode["health"];
export type NodeKind = MeshNode["kind"];
