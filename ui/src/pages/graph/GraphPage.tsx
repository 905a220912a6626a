import { useRef, useState } from "react";
import { useSearchParams } from "react-router";
import { readGraphState, writeGraphState, type GraphState } from "../../paths";
import { chooseTheme, useTheme } from "../../ui/theme";
import { useKeys } from "../../ui/useKeys";
import { lightMatches } from "./focus";
import { GraphCanvas } from "./GraphCanvas";
import styles from "./GraphPage.module.css";
import { Panel } from "./Panel";
import { Failed, Loading, NoToken, NoTraffic } from "./States";
import { TopBar } from "./TopBar";
import { useMesh } from "./useMesh";
import { hasTraffic } from "./view";

function currentState(): GraphState {
  return readGraphState(new URLSearchParams(window.location.search));
}

/** The live graph of the mesh. */
export function GraphPage() {
  const [search, setSearch] = useSearchParams();
  const [isHelpOpen, setHelpOpen] = useState(false);
  const findField = useRef<HTMLInputElement>(null);
  const theme = useTheme();
  const state = readGraphState(search);
  const { view, status, now, retry } = useMesh(state.window);

  // The address is the state, also between two renderings. At once: as a transition it would wait behind the traffic.
  // A step can be gone back with the browser; typing into the search is no step.
  const change = (part: Partial<GraphState>, isStep = true) =>
    void setSearch(writeGraphState({ ...currentState(), ...part }), { replace: !isStep, flushSync: true });

  useKeys({
    "/": () => findField.current?.focus(),
    "?": () => setHelpOpen(true),
    t: () => chooseTheme(theme === "dark" ? "light" : "dark"),
    Escape: () => {
      findField.current?.blur();
      const { selection, find } = currentState();
      if (selection) change({ selection: null });
      else if (find) change({ find: "" }, false);
    },
  });

  return (
    <div className={styles.page}>
      <TopBar
        view={view}
        status={status}
        now={now}
        window={state.window}
        onWindow={(window) => change({ window })}
        find={state.find}
        onFind={(find) => change({ find }, false)}
        findRef={findField}
        isHelpOpen={isHelpOpen}
        onHelp={setHelpOpen}
      />
      <main className={styles.main}>{stage()}</main>
    </div>
  );

  function stage() {
    switch (view.kind) {
      case "no-token":
        return <NoToken wasRefused={view.wasRefused} />;
      case "loading":
        return <Loading />;
      case "failed":
        return <Failed error={view.error} onRetry={retry} />;
      case "stale":
      case "live": {
        const { graph } = view;
        const isEmpty = !hasTraffic(graph);
        return (
          <>
            <div className={styles.stage}>
              <GraphCanvas
                graph={graph}
                selection={state.selection}
                onSelect={(selection) => change({ selection })}
                found={lightMatches(graph, state.find)}
                isStill={view.kind === "stale"}
                hasNotice={isEmpty}
              />
              {isEmpty && (
                <NoTraffic
                  window={graph.window}
                  status={status}
                  hasProductpage={graph.nodes.some(({ app }) => app === "productpage")}
                />
              )}
            </div>
            <Panel
              graph={graph}
              status={status}
              selection={state.selection}
              onSelect={(selection) => change({ selection })}
            />
          </>
        );
      }
    }
  }
}
