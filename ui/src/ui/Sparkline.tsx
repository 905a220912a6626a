import styles from "./Sparkline.module.css";

interface Props {
  /** The oldest first. */
  values: number[];
  width: number;
  height: number;
  /** As wide as there is room, with the area below filled. */
  isWide?: boolean;
}

/** A line without axes: the shape of the last while. It takes its colour from the text around it. */
export function Sparkline({ values, width, height, isWide = false }: Props) {
  if (values.length < 2) return <svg className={styles.line} width={width} height={height} aria-hidden="true" />;
  const top = Math.max(...values, 0.001);
  const points = values.map((value, index) => {
    const x = (index / (values.length - 1)) * width;
    const y = height - 1.5 - (value / top) * (height - 3);
    return `${x.toFixed(1)},${y.toFixed(1)}`;
  });
  return (
    <svg
      className={styles.line}
      width={isWide ? "100%" : width}
      height={height}
      viewBox={`0 0 ${width} ${height}`}
      preserveAspectRatio="none"
      aria-hidden="true"
    >
      {isWide && <polygon points={`0,${height} ${points.join(" ")} ${width},${height}`} />}
      <polyline points={points.join(" ")} />
    </svg>
  );
}
