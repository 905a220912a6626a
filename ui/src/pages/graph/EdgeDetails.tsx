import type { Graph, MeshEdge } from "../../api/types";
import { Icon } from "../../ui/Icon";
import { flagMeaning, fullTitle, HEALTH_WORDS, mtlsWords } from "./describe";
import { Fact, Facts, Reason } from "./Facts";
import { findSplit } from "./focus";
import { formatBytes, formatMilliseconds, formatNumber, formatRate, formatShare } from "./format";
import { codeHealth, isPlain } from "./health";
import styles from "./Panel.module.css";

export function EdgeDetails({ graph, edge }: { graph: Graph; edge: MeshEdge }) {
  const source = graph.nodes.find(({ id }) => id === edge.source);
  const target = graph.nodes.find(({ id }) => id === edge.target);
  const split = findSplit(graph, edge.source, edge.target);
  const isTcp = edge.protocol === "tcp";
  return (
    <>
      <header>
        <h2>
          {source ? fullTitle(source) : edge.source} → {target ? fullTitle(target) : edge.target}
        </h2>
        <p className={styles.kind}>
          <span data-health={edge.health}>{HEALTH_WORDS[edge.health]}</span> · {edge.protocol.toUpperCase()}
        </p>
      </header>
      {edge.reason && <Reason health={edge.health}>{edge.reason}</Reason>}
      <Facts>
        {!isTcp && <Fact name="Requests">{formatRate(edge.rate)}</Fact>}
        {!isTcp && (
          <Fact name="Errors">
            <span data-health={edge.error_rate > 0 ? edge.health : undefined}>{formatShare(edge.error_rate)}</span>
          </Fact>
        )}
        {!isTcp && (
          <Fact name="p50 · p95 · p99">
            {formatMilliseconds(edge.p50)} · {formatMilliseconds(edge.p95)} · {formatMilliseconds(edge.p99)}
          </Fact>
        )}
        {split && (
          <Fact name="Split, %">
            {split.map(([version, share]) => `${version} ${Math.round(share * 100)}`).join(" · ")}
          </Fact>
        )}
        <Fact name="Bytes in · out">
          {formatBytes(edge.received)} · {formatBytes(edge.sent)}
        </Fact>
        {edge.route && (
          <Fact name="Route">
            <code>{edge.route}</code>
          </Fact>
        )}
      </Facts>
      <Codes edge={edge} />
      <section className={styles.part}>
        <h3>Encryption and identity</h3>
        <p className={isPlain(edge, source, target) ? styles.plain : undefined}>
          <Icon name={edge.mtls > 0 ? "lock" : "unlocked"} /> {mtlsWords(edge.mtls)}
        </p>
        <Principal side="Caller" identity={edge.source_principal} />
        <Principal side="Called" identity={edge.destination_principal} />
      </section>
    </>
  );
}

function Principal({ side, identity }: { side: string; identity: string }) {
  if (!identity) return null;
  return (
    <p className={styles.principal}>
      <small>{side}</small>
      <code>{identity}</code>
    </p>
  );
}

/** The status codes as bars, and what the proxies say about those that failed. */
function Codes({ edge }: { edge: MeshEdge }) {
  const codes = Object.entries(edge.codes)
    .filter(([, rate]) => rate > 0)
    .sort(([, a], [, b]) => b - a);
  const flags = Object.entries(edge.flags).filter(([flag, rate]) => rate > 0 && flag !== "-" && flag !== "");
  const total = codes.reduce((sum, [, rate]) => sum + rate, 0);
  if (codes.length === 0 && flags.length === 0) return null;
  return (
    <section className={styles.part}>
      <h3>Responses</h3>
      <ul className={styles.codes}>
        {codes.map(([code, rate]) => (
          <li key={code} data-health={codeHealth(code, edge.protocol)}>
            <b>{code === "0" && edge.protocol === "http" ? "none" : code}</b>
            <span className={styles.bar}>
              <i style={{ width: `${(rate / total) * 100}%` }} />
            </span>
            <span>{formatNumber(rate)} /s</span>
          </li>
        ))}
      </ul>
      {flags.map(([flag, rate]) => (
        <p key={flag} className={styles.flag}>
          <b>{flag}</b> {flagMeaning(flag)} <span>{formatNumber(rate)} /s</span>
        </p>
      ))}
    </section>
  );
}
